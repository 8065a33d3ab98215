#!/bin/sh
# The first word is a command, or `executor`: what Spark's driver tells the pods that it makes, which
# are given the rest by SPARK_… variables.
set -eu
if [ "${1:-}" != executor ]; then
  exec "$@"
fi
shift
# SPARK_JAVA_OPT_0, …_1: options of the JVM, one a variable and in their order.
number=0
while value=$(printenv "SPARK_JAVA_OPT_$number"); do
  set -- "$@" "$value"
  number=$((number + 1))
done
exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" "$@" \
  "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
  -cp "${SPARK_CONF_DIR:-$SPARK_HOME/conf}:$SPARK_HOME/jars/*:${SPARK_EXTRA_CLASSPATH:-}" \
  org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
  --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" \
  --cores "$SPARK_EXECUTOR_CORES" --app-id "$SPARK_APPLICATION_ID" \
  --hostname "$SPARK_EXECUTOR_POD_IP" --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
  --podName "$SPARK_EXECUTOR_POD_NAME"
