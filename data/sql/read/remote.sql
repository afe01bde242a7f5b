SELECT filename, size, epoch_us(last_modified) FROM read_blob(?) ORDER BY filename
