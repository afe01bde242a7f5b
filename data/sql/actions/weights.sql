CREATE TABLE action_weights (action VARCHAR, target_set VARCHAR, weight DOUBLE)
