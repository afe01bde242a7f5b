-- Everything is text: a sniffed number would lose the zeros of an identity such as 007. A '#' may start a query, not a comment.
read_csv($files, auto_detect = false, header = true, skip = 0, comment = ''$options)
