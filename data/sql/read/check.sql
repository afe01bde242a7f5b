SELECT count(*), [$checks]::VARCHAR[][] FROM $reader
