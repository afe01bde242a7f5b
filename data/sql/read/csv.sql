-- Everything is text: a sniffed number would lose the zeros of an identity such as 007. A '#' may start a query, not a comment.
read_csv($files, all_varchar = true, header = true, skip = 0, comment = '', union_by_name = true$options)
