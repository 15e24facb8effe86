"""Bearer tokens of OpenID providers (OIDC): who they speak for, and whether they hold."""
