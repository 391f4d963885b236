{{/* A text as a message shows it, on one line. */}}
{{- define "purpleflea.shown" -}}
{{- $quoted := toString . | printf "%q" -}}
'{{ substr 1 (sub (len $quoted) 1 | int) $quoted }}'
{{- end -}}

{{/* What is wrong with a CronJob's schedule, as the API server reads it and in the settings' words; empty if nothing is. */}}
{{- define "purpleflea.scheduleProblem" -}}
{{- $shown := include "purpleflea.shown" . -}}
{{- $descriptors := list "@yearly" "@annually" "@monthly" "@weekly" "@daily" "@midnight" "@hourly" -}}
{{- $words := regexSplit "[\\s\\v\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}]+" . -1 | compact -}}
{{- if contains "TZ" . -}}
{{ $shown }}: a schedule names no time zone; use timeZone
{{- else if hasPrefix "@every " . -}}
  {{- $length := trimPrefix "@every " . -}}
  {{- /* As Go sums it: in nanoseconds, of which an int64 has no more than 292 years. */ -}}
  {{- $units := dict "ns" 1.0 "us" 1e3 "\u00b5s" 1e3 "\u03bcs" 1e3 "ms" 1e6 "s" 1e9 "m" 6e10 "h" 3.6e12 -}}{{- $sum := 0.0 -}}
  {{- range regexFindAll "[0-9.]+(ns|us|\u00b5s|\u03bcs|ms|s|m|h)" $length -1 -}}
    {{- $unit := regexFind "[^0-9.]+$" . -}}
    {{- $sum = addf $sum (mulf (trimSuffix $unit . | trimSuffix "." | float64) (get $units $unit)) -}}
  {{- end -}}
  {{- if or (ge $sum 9223372036854775807.0) (not (regexMatch "^[-+]?(0|(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h))+)$" $length)) -}}
    {{ include "purpleflea.shown" $length }} is no duration; write e.g. '@every 1h30m'
  {{- end -}}
{{- else if hasPrefix "@" . -}}
  {{- if not (has . $descriptors) }}{{ $shown }} is none of {{ join ", " $descriptors }} and '@every 1h30m'{{ end -}}
{{- else if ne (len $words) 5 -}}
{{ $shown }} has {{ len $words }} fields, five are needed: minute hour day-of-month month day-of-week, e.g. '0 * * * *' or '@hourly'
{{- else -}}
  {{- range $index, $field := list (list "minute" 0 59) (list "hour" 0 23) (list "day of month" 1 31) (list "month" 1 12) (list "day of week" 0 6) -}}
    {{- $why := include "purpleflea.fieldProblem" (list (index $words $index) $field) -}}
    {{- if $why }}{{ $shown }}: {{ $why }}{{ break }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* The same of one of the five fields: (list "1-5" (list "hour" 0 23)). */}}
{{- define "purpleflea.fieldProblem" -}}
{{- $field := last . -}}{{- $names := dict -}}
{{- range $name, $all := dict "month" "jan feb mar apr may jun jul aug sep oct nov dec" "day of week" "sun mon tue wed thu fri sat" -}}
  {{- if eq $name (first $field) -}}
    {{- range $number, $word := splitList " " $all }}{{ $_ := set $names $word (add $number (index $field 1) | toString) }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- range splitList "," (first .) | compact -}}
  {{- $why := include "purpleflea.rangeProblem" (list . (index $field 1) (index $field 2) $names) -}}
  {{- if $why }}{{ include "purpleflea.shown" . }} is no {{ first $field }}: {{ $why }}{{ break }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The same of one range: (list "1-5/2" low high $names). */}}
{{- define "purpleflea.rangeProblem" -}}
{{- $parts := splitList "/" (first .) -}}{{- $bounds := splitList "-" (first $parts) -}}
{{- $low := index . 1 | int64 -}}{{- $high := index . 2 | int64 -}}{{- $names := last . -}}
{{- $isAll := has (first $bounds) (list "*" "?") -}}
{{- $read := list -}}{{- $wrong := "" -}}
{{- range ternary list $bounds $isAll -}}
  {{- $number := include "purpleflea.number" (get $names (lower .) | default .) -}}
  {{- if not (or $number $wrong) }}{{ $wrong = printf "%s is no number%s" (include "purpleflea.shown" .) (ternary " or name" "" (gt (len $names) 0)) }}{{ end -}}
  {{- $read = append $read ($number | default "0" | int64) -}}
{{- end -}}
{{- $start := ternary $low (first (append $read $low)) $isAll -}}
{{- $end := ternary $high (last (append $read $low | initial | default (list $low))) $isAll -}}
{{- if and (eq (len $bounds) 1) (gt (len $parts) 1) }}{{ $end = $high }}{{ end -}}
{{- $step := "1" -}}
{{- if gt (len $parts) 1 }}{{ $step = include "purpleflea.number" (index $parts 1) }}{{ end -}}
{{- if and (not $isAll) (gt (len $bounds) 2) -}}
it has more than one hyphen
{{- else if $wrong -}}
{{ $wrong }}
{{- else if gt (len $parts) 2 -}}
it has more than one slash
{{- else if not $step -}}
{{ include "purpleflea.shown" (index $parts 1) }} is no number
{{- else if or (lt $start $low) (gt $end $high) -}}
{{ $low }} to {{ $high }} are allowed
{{- else if gt $start $end -}}
it goes backwards
{{- else if eq $step "0" -}}
a step is at least 1
{{- end -}}
{{- end -}}

{{/* A whole number that is not negative, without leading zeros; empty where the text is none. */}}
{{- define "purpleflea.number" -}}
{{- if regexMatch "^(\\+?[0-9]+|-0+)$" . -}}
{{- $digits := regexReplaceAll "^[-+]?0*" . "" | default "0" -}}
{{- if lt (len $digits) 19 }}{{ $digits }}{{ end -}}
{{- end -}}
{{- end -}}
