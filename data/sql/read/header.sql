SELECT line FROM $lines WHERE line <> '' LIMIT 1
