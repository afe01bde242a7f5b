SET VARIABLE $name = ?
