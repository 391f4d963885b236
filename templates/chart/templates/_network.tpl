{{/* The policy of one program: (dict "s" "program" "ingress" "egress"). */}}
{{- define "purpleflea.networkPolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "purpleflea.metadata" (list .s (printf "pf-%s" .program) "") }}
spec:
  podSelector:
    matchLabels:
      {{- include "purpleflea.selector" .program | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- /* A rule with an empty list would mean all; a direction without a rule is closed. */}}
  {{- range $side := list "ingress" "egress" }}
  {{- $rules := list }}
  {{- range get $ $side }}
  {{- if and (or .to .from) .ports }}{{ $rules = append $rules . }}{{ end }}
  {{- end }}
  {{- with $rules }}
  {{ $side }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}

{{- define "purpleflea.pods" -}}
podSelector:
  matchLabels:
    {{- include "purpleflea.selector" . | nindent 4 }}
{{- end -}}

{{- define "purpleflea.named" -}}
matchLabels: {kubernetes.io/metadata.name: {{ . | quote }}}
{{- end -}}

{{- define "purpleflea.tcp" -}}
{{- $found := list -}}
{{- range . }}{{ $found = append $found (dict "protocol" "TCP" "port" (int .)) }}{{ end -}}
{{- toJson $found -}}
{{- end -}}

{{- define "purpleflea.blocks" -}}
{{- $found := list -}}
{{- range . }}{{ $found = append $found (dict "ipBlock" (dict "cidr" (lower .))) }}{{ end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The collector of metrics: (list $s port port). */}}
{{- define "purpleflea.scrape" -}}
{{- $collector := dict "namespaceSelector" (include "purpleflea.named" (first .).networkPolicy.monitoringNamespace | fromYaml) -}}
{{- dict "from" (list $collector) "ports" (include "purpleflea.tcp" (rest .) | fromJsonArray) | toJson -}}
{{- end -}}

{{/* Networks outside without those that are left out, as they are and as a NAT64 gateway has them. */}}
{{- define "purpleflea.outside" -}}
{{- $egress := .networkPolicy.egress -}}
{{- $closed := concat $egress.excludedCidrs .networkPolicy.apiServer.cidrs -}}
{{- $translated := list -}}
{{- range $closed -}}
  {{- with include "purpleflea.nat64" . }}{{ $translated = append $translated . }}{{ end -}}
{{- end -}}
{{- $closed = concat $closed $translated -}}
{{- $blocks := list -}}
{{- range $cidr := $egress.cidrs -}}
  {{- /* `except` must lie inside the block: each family gets its own exceptions, and a narrow block gets none. */ -}}
  {{- $block := dict "cidr" (lower $cidr) -}}
  {{- $inside := list -}}
  {{- range $closed -}}
    {{- if and (ne . $cidr) (eq (contains ":" .) (contains ":" $cidr)) (hasPrefix (include "purpleflea.bits" $cidr) (include "purpleflea.bits" .)) }}{{ $inside = append $inside (lower .) }}{{ end -}}
  {{- end -}}
  {{- if $inside }}{{ $_ := set $block "except" $inside }}{{ end -}}
  {{- $blocks = append $blocks (dict "ipBlock" $block) -}}
{{- end -}}
{{- toJson $blocks -}}
{{- end -}}

{{/* An IPv4 network as a NAT64 gateway has it (RFC 6052): on an IPv6 cluster it would be the way around. */}}
{{- define "purpleflea.nat64" -}}
{{- $parts := splitList "/" . -}}
{{- if and (not (contains ":" .)) (ne (last $parts) "0") -}}
  {{- $o := splitList "." (first $parts) -}}
  {{- $high := add (mul 256 (index $o 0 | int)) (index $o 1 | int) -}}
  {{- $low := add (mul 256 (index $o 2 | int)) (index $o 3 | int) -}}
  {{- $address := ternary (printf "%x:%x" $high $low) (ternary (printf "%x" $low) "" (gt $low 0)) (gt $high 0) -}}
  {{- printf "64:ff9b::%s/%d" $address (add 96 (last $parts | int)) -}}
{{- end -}}
{{- end -}}

{{/* The bits of a network's prefix, as text of 0 and 1: one contains another when it is a prefix of it. */}}
{{- define "purpleflea.bits" -}}
{{- $parts := splitList "/" . -}}
{{- $bits := "" -}}
{{- if contains ":" . -}}
  {{- $sides := splitList "::" (first $parts) -}}
  {{- $left := compact (splitList ":" (first $sides)) -}}
  {{- $right := ternary (compact (splitList ":" (last $sides))) list (gt (len $sides) 1) -}}
  {{- range $left }}{{ $bits = printf "%s%016b" $bits (int64 (printf "0x%s" .)) }}{{ end -}}
  {{- range until (sub (sub 8 (len $left)) (len $right) | int) }}{{ $bits = printf "%s%016b" $bits 0 }}{{ end -}}
  {{- range $right }}{{ $bits = printf "%s%016b" $bits (int64 (printf "0x%s" .)) }}{{ end -}}
{{- else -}}
  {{- range splitList "." (first $parts) }}{{ $bits = printf "%s%08b" $bits (int .) }}{{ end -}}
{{- end -}}
{{- trunc (last $parts | int) $bits -}}
{{- end -}}

{{/*
Egress to the configured services, as JSON of {"rules": [...]}: (list $s $outside whether also where none of them is).
An address that is written down is meant, even where it is a private one.
*/}}
{{- define "purpleflea.payment" -}}
{{- $s := first . -}}{{- $outside := index . 1 -}}{{- $rules := list -}}
{{- if $s.sandbox.enabled -}}
  {{- $rules = append $rules (dict "to" (list (include "purpleflea.pods" "sandbox" | fromYaml)) "ports" (include "purpleflea.tcp" (list 8080) | fromJsonArray)) -}}
{{- end -}}
{{- $proxy := $s.network.proxy -}}
{{- $own := printf "pf-sandbox.%s.svc" $s.namespace -}}
{{- $named := list -}}{{- $numbered := list -}}
{{- range concat (values $s.url) (values $s.mcpUrl) (compact (list $proxy.httpsUrl $proxy.httpUrl)) -}}
  {{- $url := urlParse (lower .) -}}
  {{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) | int -}}
  {{- $host := $url.hostname -}}
  {{- if contains ":" $host }}{{ $numbered = append $numbered (printf "%s/128 %d" $host $port) -}}
  {{- else if regexMatch "^[0-9.]+$" $host }}{{ $numbered = append $numbered (printf "%s/32 %d" $host $port) -}}
  {{- else if ne $host $own }}{{ $named = append $named $port }}{{ end -}}
{{- end -}}
{{- range $numbered | uniq | sortAlpha -}}
  {{- $parts := splitList " " . -}}
  {{- $rules = append $rules (dict "to" (list (dict "ipBlock" (dict "cidr" (first $parts)))) "ports" (include "purpleflea.tcp" (list (last $parts)) | fromJsonArray)) -}}
{{- end -}}
{{- if or $named (last .) -}}
  {{- $padded := list -}}
  {{- range concat $s.networkPolicy.egress.ports $named }}{{ $padded = append $padded (printf "%05d" (int .)) }}{{ end -}}
  {{- $ports := list -}}
  {{- range $padded | uniq | sortAlpha }}{{ $ports = append $ports (trimPrefix "0" . | trimPrefix "0" | trimPrefix "0" | trimPrefix "0") }}{{ end -}}
  {{- $rules = append $rules (dict "to" $outside "ports" (include "purpleflea.tcp" $ports | fromJsonArray)) -}}
{{- end -}}
{{- dict "rules" $rules | toJson -}}
{{- end -}}
