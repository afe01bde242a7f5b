SELECT count(*), [$checks]::VARCHAR[][], [$odd]::BOOLEAN[] FROM $reader
