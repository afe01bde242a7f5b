SELECT [$checks] FROM $reader
