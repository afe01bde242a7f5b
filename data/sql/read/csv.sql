-- Everything as text: a sniffed number would eat the zeros of an identity such as 007. A '#' starts a query, not a comment.
read_csv($files, all_varchar = true, header = true, skip = 0, comment = '', union_by_name = true$options)
