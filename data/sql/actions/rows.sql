SELECT search_row, document_row, action, target_set, weight FROM acted ORDER BY search_row, document_row, action
