"""The data model of the wire as marshmallow schemas: the one model of client input and OpenAPI."""
