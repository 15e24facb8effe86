"""The head of a federation of ExecutionBroker services: one URL in front of many node brokers."""
