{{/*
The settings of the chart as JSON, with what follows from them. Those below `purpleflea:` come first, then those beside
it: a parent chart writes `purpleflea: {hpa: {...}}`, which reaches this chart without the outer key. From a parent
chart's template the settings are this chart's, too.
*/}}
{{- define "purpleflea.settings" -}}
{{- $chart := .Subcharts.purpleflea | default . -}}
{{- $given := omit (deepCopy $chart.Values) "purpleflea" "global" -}}
{{- $s := mergeOverwrite (deepCopy ($chart.Values.purpleflea | default dict)) $given -}}
{{- $global := $chart.Values.global | default dict -}}
{{- $defaults := $chart.Files.Get "files/agent.json" | fromJson -}}
{{- $agents := list -}}
{{- range $s.agents -}}
  {{- $agents = append $agents (mergeOverwrite (deepCopy $defaults) .) -}}
{{- end -}}
{{- $images := merge (dict "pullSecrets" (concat $s.images.pullSecrets ($global.imagePullSecrets | default list))) $s.images -}}
{{- $sandbox := printf "http://pf-sandbox.%s.svc:8080" $s.namespace -}}
{{- $url := dict -}}
{{- range list "faucet" "escrow" "casino" "trading" "wallet" "domains" -}}
  {{- $public := ternary $sandbox (printf "https://%s.purpleflea.com" .) $s.sandbox.enabled -}}
  {{- $_ := set $url . (include "purpleflea.url" (get $s.services (printf "%sUrl" .)) | default $public) -}}
{{- end -}}
{{- $mcpUrl := dict -}}
{{- range list "faucet" "escrow" -}}
  {{- $base := get $url . -}}
  {{- $public := ternary (printf "%s/%s/mcp" $base .) (printf "%s/mcp" (trimSuffix "/" $base)) (eq $base $sandbox) -}}
  {{- $_ := set $mcpUrl . (include "purpleflea.url" (get $s.mcp (printf "%sEndpoint" .)) | default $public) -}}
{{- end -}}
{{- $watch := $s.operator.watchNamespace | default $s.namespace -}}
{{- $selector := ternary (trimPrefix "selector:" $watch) "" (hasPrefix "selector:" $watch) -}}
{{- $derived := dict
  "agents" $agents
  "images" $images
  "registry" ($global.imageRegistry | default "" | trimSuffix "/")
  "secret" ($s.credentials.existingSecret | default "purpleflea-creds")
  "url" $url
  "mcpUrl" $mcpUrl
  "sandboxUrl" $sandbox
  "watch" $watch
  "watchSelector" $selector
  "watched" (ternary list (splitList "," $watch) (ne $selector ""))
  "scales" (and $s.worker.enabled $s.hpa.enabled)
  "pays" (and $s.worker.enabled $s.payroll.enabled)
  "workerAccount" (ternary "pf-worker-sa" "pf-agent-sa" $s.worker.workLog)
  "certManager" (and (eq $s.hpa.engine "hpa") (eq $s.hpa.metricsServer.tls "certManager"))
  "gate" (and $s.operator.enabled (eq $s.admission.jobGate "policy"))
  "keepsKey" (and $s.sandbox.enabled (not $s.credentials.existingSecret))
  "kueue" (and $s.operator.enabled (ne $s.operator.admissionCheck ""))
-}}
{{- mergeOverwrite $s $derived | toJson -}}
{{- end -}}

{{/* A URL as the settings have it: its scheme in lower case, no slash at its end. */}}
{{- define "purpleflea.url" -}}
{{- if . -}}
{{- $parts := regexSplit "://" (regexReplaceAll "/+$" . "") 2 -}}
{{- printf "%s://%s" (lower (first $parts)) (last $parts) -}}
{{- end -}}
{{- end -}}

{{/* An amount with at least two decimals and no zeros after them: "0.1" is 0.10. */}}
{{- define "purpleflea.usdc" -}}
{{- $parts := splitList "." (toString .) -}}
{{- $whole := regexReplaceAll "^0+([0-9])" (first $parts) "${1}" -}}
{{- $cents := regexReplaceAll "0+$" (ternary (last $parts) "" (eq (len $parts) 2)) "" -}}
{{- $whole }}.{{ if lt (len $cents) 2 }}{{ printf "%s00" $cents | trunc 2 }}{{ else }}{{ $cents }}{{ end -}}
{{- end -}}

{{/* What a task of an agent or of the workers is worth: (list $s $of). */}}
{{- define "purpleflea.taskBudget" -}}
{{- $s := first . -}}
{{- include "purpleflea.usdc" ((last .).budgetUsdc | default $s.escrow.defaultBudgetUsdc) -}}
{{- end -}}

{{/*
JSON in ASCII, its keys sorted: the text that a Job's content hash is made of, the same from every tool. Go escapes
`\u2028` by itself and leaves other characters as they are.
*/}}
{{- define "purpleflea.json" -}}
{{- $text := toRawJson . -}}
{{- range regexFindAll "[^\\x00-\\x7F]" $text -1 | uniq -}}
  {{- $escaped := printf "%+q" . | trimAll "\"" -}}
  {{- if hasPrefix "\\U" $escaped -}}
    {{- $n := sub (int64 (printf "0x%s" (trimPrefix "\\U" $escaped))) 65536 -}}
    {{- $escaped = printf "\\u%04x\\u%04x" (add 55296 (div $n 1024)) (add 56320 (mod $n 1024)) -}}
  {{- end -}}
  {{- $text = replace . $escaped $text -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* A list of texts in one line, as CEL and the programs' variables have it. */}}
{{- define "purpleflea.list" -}}
{{- $texts := list -}}
{{- range . }}{{ $texts = append $texts (include "purpleflea.json" .) }}{{ end -}}
[{{ join ", " $texts }}]
{{- end -}}

{{/* Eight hex digits that change with the content and with nothing else. */}}
{{- define "purpleflea.hash" -}}
{{- include "purpleflea.json" . | sha256sum | trunc 8 -}}
{{- end -}}
