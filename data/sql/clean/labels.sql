-- The labels of examples, the most frequent first.
SELECT coalesce(esci_label, 'none') AS label, count(*) AS examples FROM examples GROUP BY label ORDER BY examples DESC, label
