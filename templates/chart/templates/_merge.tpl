{{/*
Kubernetes' strategic merge of a part into a whole, as `kubectl patch` does it: (dict "base" "patch" "path"). Mappings
merge by key, null removes, lists of named things merge by their name, other lists are replaced; a volume or a variable
of the same name is replaced. Gives JSON of {"value": ...}, so that every kind of value comes back as it was.
*/}}
{{- define "purpleflea.merge" -}}
{{- $base := .base -}}{{- $patch := .patch -}}
{{- if not (and (kindIs "map" $base) (kindIs "map" $patch)) -}}
  {{- include "purpleflea.withoutNulls" $patch -}}
{{- else if eq (get $patch "$patch" | toString) "replace" -}}
  {{- include "purpleflea.withoutNulls" (omit $patch "$patch") -}}
{{- else -}}
  {{- $found := deepCopy $base -}}
  {{- range $key, $value := $patch -}}
    {{- $place := printf "%s.%s" $.path $key -}}
    {{- $by := get (include "purpleflea.mergeKeys" . | fromYaml) $key -}}
    {{- if kindIs "invalid" $value -}}
      {{- $_ := unset $found $key -}}
    {{- else if and $by (kindIs "slice" $value) -}}
      {{- $args := dict "base" (get $found $key | default list) "patch" $value "field" $key "by" $by "path" $place -}}
      {{- $_ := set $found $key (include "purpleflea.mergeList" $args | fromJson).value -}}
    {{- else -}}
      {{- $_ := set $found $key (include "purpleflea.merge" (dict "base" (get $found $key) "patch" $value "path" $place) | fromJson).value -}}
    {{- end -}}
  {{- end -}}
  {{- dict "value" $found | toJson -}}
{{- end -}}
{{- end -}}

{{- define "purpleflea.mergeKeys" -}}
{containers: name, initContainers: name, volumes: name, env: name, imagePullSecrets: name, resourceClaims: name,
 schedulingGates: name, volumeMounts: mountPath, volumeDevices: devicePath, ports: containerPort, hostAliases: ip,
 topologySpreadConstraints: topologyKey}
{{- end -}}

{{- define "purpleflea.mergeList" -}}
{{- $by := .by -}}{{- $order := list -}}{{- $there := dict -}}{{- $patches := dict -}}{{- $names := list -}}
{{- range .base -}}
  {{- $order = append $order (get . $by) -}}
  {{- $_ := set $there (get . $by | toString) . -}}
{{- end -}}
{{- range $index, $entry := .patch -}}
  {{- if not (and (kindIs "map" $entry) (hasKey $entry $by)) -}}
    {{- fail (printf "%s[%d]: %s is required: entries are merged by it" $.path $index $by) -}}
  {{- end -}}
  {{- if not (hasKey $patches (get $entry $by | toString)) }}{{ $names = append $names (get $entry $by) }}{{ end -}}
  {{- $_ := set $patches (get $entry $by | toString) $entry -}}
{{- end -}}
{{- $kept := list -}}{{- $changed := list -}}
{{- range .base -}}
  {{- if not (hasKey $patches (get . $by | toString)) }}{{ $kept = append $kept . }}{{ end -}}
{{- end -}}
{{- range $name := $names -}}
  {{- $entry := get $patches ($name | toString) -}}
  {{- if ne (get $entry "$patch" | toString) "delete" -}}
    {{- $replaces := and (has $.field (list "volumes" "env")) (gt (len $entry) 1) -}}
    {{- $old := ternary dict (get $there ($name | toString) | default dict) $replaces -}}
    {{- $args := dict "base" $old "patch" $entry "path" (printf "%s[%v]" $.path $name) -}}
    {{- $changed = append $changed (include "purpleflea.merge" $args | fromJson).value -}}
  {{- end -}}
{{- end -}}
{{- /* Those that stay and those that change: in the old order where it has both, else the changed ones first. */ -}}
{{- $found := list -}}
{{- range until (add (len $kept) (len $changed) | int) -}}
  {{- if and $kept $changed -}}
    {{- $isBefore := false -}}
    {{- range $order -}}
      {{- if eq (toString .) (get (first $kept) $by | toString) }}{{ break }}{{ end -}}
      {{- if eq (toString .) (get (first $changed) $by | toString) }}{{ $isBefore = true }}{{ end -}}
    {{- end -}}
    {{- $known := has (get (first $changed) $by) $order -}}
    {{- if and $known (not $isBefore) -}}
      {{- $found = append $found (first $kept) }}{{ $kept = rest $kept -}}
    {{- else -}}
      {{- $found = append $found (first $changed) }}{{ $changed = rest $changed -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- dict "value" (concat $found $kept $changed) | toJson -}}
{{- end -}}

{{/* What is null was to be removed, and is not there. */}}
{{- define "purpleflea.withoutNulls" -}}
{{- $found := . -}}
{{- if kindIs "map" . -}}
  {{- $found = dict -}}
  {{- range $key, $value := . -}}
    {{- if not (kindIs "invalid" $value) }}{{ $_ := set $found $key (include "purpleflea.withoutNulls" $value | fromJson).value }}{{ end -}}
  {{- end -}}
{{- else if kindIs "slice" . -}}
  {{- $found = list -}}
  {{- range . }}{{ $found = append $found (include "purpleflea.withoutNulls" . | fromJson).value }}{{ end -}}
{{- end -}}
{{- dict "value" $found | toJson -}}
{{- end -}}
