CREATE TABLE query_forms (query VARCHAR, form VARCHAR);
