SELECT json_deserialize_sql(CAST(? AS JSON))
