{{/* What is wrong with a network in CIDR notation, as the API server reads it; empty where nothing is. */}}
{{- define "purpleflea.networkProblem" -}}
{{- $shown := include "purpleflea.shown" . -}}
{{- $octet := "(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])" -}}
{{- $address := splitList "/" . | first -}}{{- $bits := splitList "/" . | last -}}
{{- if regexMatch (printf "^(%s\\.){3}%s/(0|[1-9]|[12][0-9]|3[0-2])$" $octet $octet) . -}}
  {{- if include "purpleflea.hasHostBits" (list (splitList "." $address) 8 $bits) }}{{ . }} has host bits set{{ end -}}
{{- else if not (regexMatch "^[0-9a-fA-F:.]+/(0|[1-9][0-9]?|1[01][0-9]|12[0-8])$" . | and (contains ":" .)) -}}
{{ $shown }} is no network
{{- else -}}
  {{- /* An IPv4 address at its end stands for two groups. */ -}}
  {{- $tail := regexFind (printf "(%s\\.){3}%s$" $octet $octet) $address -}}
  {{- if $tail -}}
    {{- $o := splitList "." $tail -}}
    {{- $address = printf "%s%02x%02x:%02x%02x" (trimSuffix $tail $address) (index $o 0 | int) (index $o 1 | int) (index $o 2 | int) (index $o 3 | int) -}}
  {{- end -}}
  {{- $halves := splitList "::" $address -}}{{- $groups := list -}}
  {{- range $index, $half := $halves -}}
    {{- if $index }}{{ range until (sub 8 (len (splitList ":" $address | compact)) | max 0 | int) }}{{ $groups = append $groups "0" }}{{ end }}{{ end -}}
    {{- if $half }}{{ $groups = concat $groups (splitList ":" $half) }}{{ end -}}
  {{- end -}}
  {{- $given := len (splitList ":" $address | compact) -}}
  {{- $isRight := and (eq (len $groups) 8) (le (len $halves) 2) (or (eq (len $halves) 1) (lt $given 8)) -}}
  {{- range $groups }}{{ if not (regexMatch "^[0-9a-fA-F]{1,4}$" .) }}{{ $isRight = false }}{{ end }}{{ end -}}
  {{- if not $isRight -}}
{{ $shown }} is no network
  {{- else -}}
    {{- $numbers := list }}{{ range $groups }}{{ $numbers = append $numbers (int64 (printf "0x%s" .)) }}{{ end -}}
    {{- if include "purpleflea.hasHostBits" (list $numbers 16 $bits) -}}
{{ . }} has host bits set
    {{- else if and (eq (slice $numbers 0 5 | join "") "00000") (eq (index $numbers 5) 65535) -}}
{{ $shown }} is an IPv4 network written as IPv6
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether an address says something beyond its prefix: (list $groups "bits of a group" "prefix"). */}}
{{- define "purpleflea.hasHostBits" -}}
{{- $width := index . 1 | int -}}{{- $prefix := last . | int -}}
{{- range $index, $group := first . -}}
  {{- $free := sub $width (sub $prefix (mul $index $width) | max 0 | min $width) -}}
  {{- $size := 1 }}{{ range until (int $free) }}{{ $size = mul $size 2 }}{{ end -}}
  {{- if mod (int64 $group) $size }}true{{ break }}{{ end -}}
{{- end -}}
{{- end -}}
