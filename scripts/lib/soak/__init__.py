"""A long churn of connections, and whether anything grows under it."""
