SELECT search_row, query_row, document_row, rank FROM checked_list WHERE reason IS NULL ORDER BY ALL
