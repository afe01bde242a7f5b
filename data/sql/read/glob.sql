SELECT file FROM glob(?) ORDER BY file
