SELECT search_row, document_row, place::INTEGER AS place FROM placed WHERE place <= $k ORDER BY search_row, place
