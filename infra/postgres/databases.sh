#!/bin/sh
# Run once by the image of Postgres, on an empty volume: a role and a database each for Prefect and
# MLflow. Neither role can open the other's.
set -eu
for name in prefect mlflow; do
  case $name in
    prefect) password=$PREFECT_DB_PASSWORD ;;
    mlflow) password=$MLFLOW_DB_PASSWORD ;;
  esac
  psql -v ON_ERROR_STOP=1 -v name="$name" -v password="$password" --username "$POSTGRES_USER" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
done
