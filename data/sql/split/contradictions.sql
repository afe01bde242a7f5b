SELECT split, clicks, alive, contradicting, example FROM contradictions ORDER BY split
