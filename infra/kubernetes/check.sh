#!/bin/sh
# Hold the manifests against a real API server: sh infra/kubernetes/check.sh [OVERLAY]
# A dry run on the server, strict: nothing is made. KUBECONFIG names the cluster; needs kubectl.
# Where the overlay has no file of secrets yet, its example stands in.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
overlay=${1:-example}
if [ -z "${KUBECONFIG:-}" ]; then
  echo "KUBECONFIG names no cluster: nothing was checked against an API server." >&2
  echo "The schemas are checked without one, by \`make test\` (tests/infra)." >&2
  exit 0
fi
command -v kubectl >/dev/null || { echo "kubectl is not installed" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$here" "$work/kubernetes"
for file in "$work/kubernetes/overlays/$overlay"/*.env.example; do
  [ -e "${file%.example}" ] || cp "$file" "${file%.example}"
done
kubectl kustomize "$work/kubernetes/overlays/$overlay" >"$work/all.yaml"
namespace=mrl4rec
if ! kubectl get namespace "$namespace" >/dev/null 2>&1; then  # what is in it cannot be asked about
  namespace=default
  sed 's/^\( *namespace: \)mrl4rec$/\1default/' "$work/all.yaml" >"$work/moved.yaml"
  mv "$work/moved.yaml" "$work/all.yaml"
fi
kubectl apply --dry-run=server --validate=strict -f "$work/all.yaml"
kubectl apply --dry-run=server --validate=strict -n "$namespace" -f "$here/base/spark/executor.yaml"
