SELECT [$checks]::VARCHAR[][], [$nulls] FROM $reader
