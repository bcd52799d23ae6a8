#!/bin/sh
# Run once by the image of PostgreSQL on an empty volume: a database and an owner for the hub, and for LakeFS.
set -eu
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres <<'SQL'
\getenv hub_password HUB_DATABASE_PASSWORD
\getenv lakefs_password LAKEFS_DATABASE_PASSWORD
CREATE ROLE hub LOGIN PASSWORD :'hub_password';
CREATE ROLE lakefs LOGIN PASSWORD :'lakefs_password';
CREATE DATABASE hub OWNER hub TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE lakefs OWNER lakefs TEMPLATE template0 ENCODING 'UTF8';
REVOKE CONNECT ON DATABASE hub, lakefs FROM PUBLIC;
SQL
