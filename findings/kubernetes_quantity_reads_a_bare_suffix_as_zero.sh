#!/bin/sh
# k8s.io/apimachinery 0.36 (Go): resource.ParseQuantity takes a number without a single digit for zero. "Mi", "+" and
# "." are no errors; each is the quantity 0. So a template that loses its number ("${SIZE}Mi") asks for 0 bytes, and the
# API server, which parses with the same function, says nothing where zero is allowed.
# Expected: an error, as for the empty text.
# What follows: whoever fills a quantity in checks that there is a digit.
set -eu
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/api/resource"
)

func main() {
	changed := false
	for _, text := range []string{"Mi", "+", ".", "k"} {
		quantity, err := resource.ParseQuantity(text)
		fmt.Printf("  %-4q -> %q, error: %v\n", text, quantity.String(), err)
		changed = changed || err != nil || !quantity.IsZero()
	}
	if _, err := resource.ParseQuantity(""); err == nil {
		changed = true
	}
	if changed {
		fmt.Println("it is otherwise now")
		os.Exit(1)
	}
}
GO
cat > go.mod <<'MOD'
module example.com/finding

go 1.25.0

require k8s.io/apimachinery v0.36.3
MOD
echo "k8s.io/apimachinery v0.36.3"
GOFLAGS=-mod=mod go run .
