{{/*
What the schema cannot say, in the settings' own words: one problem a line, all at once, before anything is created.
(list . $s)
*/}}
{{- define "purpleflea.checks" -}}
{{- $s := last . -}}
{{- if $s.enabled -}}
{{- $names := (first .).Files.Get "files/names.json" | fromJson -}}
{{- $values := list $s $names -}}
{{- $found := list (include "purpleflea.stackProblems" $s) (include "purpleflea.agentProblems" $values) (include "purpleflea.clusterProblems" .) -}}
{{- $found = append $found (include "purpleflea.timeProblems" $values) -}}
{{- $found = append $found (include "purpleflea.overrideProblems" $values) -}}
{{- $found = append $found (include "purpleflea.resourceProblems" (list "purpleflea" (omit $s "url" "mcpUrl"))) -}}
{{- include "purpleflea.refuse" $found -}}
{{- end -}}
{{- end -}}

{{/* Fail with every line of some texts. */}}
{{- define "purpleflea.refuse" -}}
{{- $found := list -}}
{{- range splitList "\n" (join "\n" .) }}{{ with trim . }}{{ $found = append $found . }}{{ end }}{{ end -}}
{{- if $found -}}
{{- fail (printf "\n%d mistake%s in the settings:\n  %s\n" (len $found) (ternary "" "s" (eq (len $found) 1)) (sortAlpha $found | join "\n  ")) -}}
{{- end -}}
{{- end -}}

{{/* When things run, and whose days: (list $s $names). */}}
{{- define "purpleflea.timeProblems" -}}
{{- $s := first . -}}{{- $zones := (last .).timeZones -}}
{{- $timed := dict "payroll" $s.payroll "retention" $s.retention "budget" $s.budget -}}
{{- range $index, $agent := $s.agents }}{{ $_ := set $timed (printf "agents[%d]" $index) . }}{{ end -}}
{{- range $path, $one := $timed }}
{{- if or .schedule (has $path (list "payroll" "retention")) }}
{{- with include "purpleflea.scheduleProblem" .schedule }}
purpleflea.{{ $path }}.schedule: {{ . }}
{{- end }}
{{- end }}
{{- if not (has .timeZone $zones) }}
purpleflea.{{ $path }}.timeZone: {{ include "purpleflea.shown" .timeZone }} is no IANA time zone; write e.g. 'Etc/UTC' or 'Europe/Berlin'
{{- end }}
{{- end }}
{{- end -}}

{{/* Requests above their limits, wherever resources stand: (list "path" $section). */}}
{{- define "purpleflea.resourceProblems" -}}
{{- $path := first . -}}{{- $section := last . -}}
{{- if and (kindIs "map" $section) (hasKey $section "requests") (hasKey $section "limits") }}
{{- range $kind := list "cpu" "memory" }}
{{- $request := get $section.requests $kind }}{{ $limit := get $section.limits $kind }}
{{- if gt (include "purpleflea.amount" $request | float64) (include "purpleflea.amount" $limit | float64) }}
{{ $path }}.requests.{{ $kind }}: {{ include "purpleflea.quantity" $request | trimAll "\"" }} must not exceed the limit, {{ include "purpleflea.quantity" $limit | trimAll "\"" }}
{{- end }}
{{- end }}
{{- else if kindIs "map" $section }}
{{- range $key, $one := omit $section "podTemplate" "job" "env" }}
{{ include "purpleflea.resourceProblems" (list (printf "%s.%s" $path $key) $one) }}
{{- end }}
{{- else if kindIs "slice" $section }}
{{- range $index, $one := $section }}
{{ include "purpleflea.resourceProblems" (list (printf "%s[%d]" $path $index) $one) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The number behind a quantity: "250m" is 0.25. */}}
{{- define "purpleflea.amount" -}}
{{- $text := include "purpleflea.quantity" . | trimAll "\"" -}}
{{- $factors := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- $unit := regexFind "[a-zA-Z]+$" $text -}}
{{- mulf (trimSuffix $unit $text | trimSuffix "." | float64) (get $factors $unit | default 1.0) -}}
{{- end -}}

{{- define "purpleflea.stackProblems" -}}
{{- $s := . -}}{{- $keys := .credentials -}}
{{- if not (or $keys.existingSecret .sandbox.enabled) }}
purpleflea.credentials.existingSecret: name a Secret that is there: the chart makes one beside a sandbox only, because a key in values stays readable in the release's history
{{- end }}
{{- range list $keys.apiKeyKey $keys.agentWalletKey $keys.faucetUrlKey $keys.escrowUrlKey | uniq }}
{{- $key := . }}{{- $count := 0 }}
{{- range list $keys.apiKeyKey $keys.agentWalletKey $keys.faucetUrlKey $keys.escrowUrlKey }}{{ if eq . $key }}{{ $count = add1 $count }}{{ end }}{{ end }}
{{- if gt (int $count) 1 }}
purpleflea.credentials: key '{{ . }}' stands for {{ $count }} different things
{{- end }}
{{- end }}
{{- if not .sandbox.enabled }}
{{- range $section := list "services" "mcp" }}{{ range $name, $url := get $s $section }}
{{- if and (kindIs "string" $url) (hasPrefix "http://" (lower $url)) }}
purpleflea.{{ $section }}.{{ $name }}: must be https: plain http is allowed beside a sandbox only (sandbox.enabled: true)
{{- end }}
{{- end }}{{ end }}
{{- if eq .images.runtime "purpleflea/runtime:@VERSION@" }}
purpleflea.images.runtime: is required where there is no sandbox: your own build of the image (`make image`), by its digest, name@sha256:...; anybody may own the default's name, and its pods hold the payer's key
{{- else if not (or .images.allowTag (contains "@sha256:" .images.runtime)) }}
purpleflea.images.runtime: '{{ .images.runtime }}': name the image by its digest, name@sha256:...: whoever may push the tag would get the payer's key; images.allowTag: true takes a tag on purpose
{{- end }}
{{- if and .operator.enabled .operator.image (not .images.allowTag) (not (contains "@sha256:" .operator.image)) }}
purpleflea.operator.image: '{{ .operator.image }}': name the image by its digest, name@sha256:...: whoever may push the tag would get the payer's key; images.allowTag: true takes a tag on purpose
{{- end }}
{{- end }}
{{- $seconds := mul 3600 .escrow.timeoutHours }}
{{- if ge (int .job.activeDeadlineSeconds) (int $seconds) }}
purpleflea.job.activeDeadlineSeconds: must be below the escrow's time-out, {{ $seconds }}: after {{ int .escrow.timeoutHours }} h the money goes back
{{- end }}
{{- if ge (mul 60 .payroll.releaseAgeMinutes | int) (int $seconds) }}
purpleflea.payroll.releaseAgeMinutes: must be below the escrow's time-out, {{ div $seconds 60 }}: after {{ int .escrow.timeoutHours }} h the money goes back
{{- end }}
{{- if and (eq .funding.mode "request") (not .operator.enabled) }}
purpleflea.funding.mode: request needs the operator (operator.enabled: true)
{{- end }}
{{- if gt (int .hpa.minReplicas) (int .hpa.maxReplicas) }}
purpleflea.hpa.minReplicas: {{ int .hpa.minReplicas }} must not exceed maxReplicas ({{ int .hpa.maxReplicas }})
{{- end }}
{{- if or (lt (int .mcp.containerPort) 1024) (has (int .mcp.containerPort) (list 8080 8081)) }}
purpleflea.mcp.containerPort: {{ int .mcp.containerPort }}: 1024 to 65535, and not 8081, 8080, which the pod uses itself
{{- end }}
{{- if and .network.caBundle.configMap .network.caBundle.secret }}
purpleflea.network.caBundle: is a ConfigMap or a Secret, not both
{{- end }}
{{- if eq .network.caBundle.secret .secret }}
purpleflea.network.caBundle.secret: is the payer's Secret; use another one
{{- end }}
{{- if hasPrefix "kube-" .namespace }}
purpleflea.namespace: '{{ .namespace }}' is Kubernetes' own; choose another namespace
{{- end }}
{{- range .watched }}{{ if hasPrefix "kube-" . }}
purpleflea.operator.watchNamespace: '{{ . }}' is Kubernetes' own; choose another namespace
{{- end }}{{ end }}
{{- if and (eq .namespace "default") .createNamespace }}
purpleflea.namespace: 'default' is there already, and is not the stack's: set createNamespace: false, or choose another one
{{- end }}
{{- if and .operator.enabled .agents .watched (not (has .namespace .watched)) }}
purpleflea.operator.watchNamespace: '{{ .watch }}' leaves out the stack's own namespace, {{ .namespace }}: nobody would pay its Jobs
{{- end }}
{{- if ne .admission.jobGate "policy" }}
purpleflea.admission.jobGate: {{ .admission.jobGate }} is not for Helm, whose next upgrade or rollback would suspend Jobs that run; write policy
{{- end }}
{{- if .retention.archiveAfterDays }}
{{- if not .retention.archiveUrl }}
purpleflea.retention.archiveUrl: is required with archiveAfterDays: where do accounts go?
{{- else if and (hasPrefix "file:///archive" .retention.archiveUrl) (not .retention.archiveClaim) }}
purpleflea.retention.archiveClaim: is required for a folder: what a container keeps for itself is gone with it, and the accounts too
{{- else if and (hasPrefix "file:" .retention.archiveUrl) (not (hasPrefix "file:///archive" .retention.archiveUrl)) }}
purpleflea.retention.archiveUrl: must lie below /archive, where archiveClaim is mounted: file:///archive
{{- end }}
{{- if eq .retention.archiveSecret .secret }}
purpleflea.retention.archiveSecret: is the payer's Secret, and retention pays nobody
{{- end }}
{{- if not .operator.enabled }}
purpleflea.retention.archiveAfterDays: needs the operator (operator.enabled: true)
{{- end }}
{{- end }}
{{- if le (include "purpleflea.amount" .sandbox.storage | float64) 0.0 }}
purpleflea.sandbox.storage: {{ include "purpleflea.quantity" .sandbox.storage | trimAll "\"" | squote }} must be more than zero
{{- end }}
{{- $policy := .networkPolicy -}}
{{- range $path, $networks := dict "dns.cidrs" $policy.dns.cidrs "apiServer.cidrs" $policy.apiServer.cidrs "egress.cidrs" $policy.egress.cidrs "egress.excludedCidrs" $policy.egress.excludedCidrs }}
{{- range $index, $network := $networks }}{{ with include "purpleflea.networkProblem" . }}
purpleflea.networkPolicy.{{ $path }}[{{ $index }}]: {{ . }}; write e.g. '10.0.0.1/32' or '2001:db8::/32'
{{- end }}{{ end }}
{{- end }}
{{- include "purpleflea.amountProblems" . }}
{{- end -}}

{{/* An amount in micro-USDC. */}}
{{- define "purpleflea.micro" -}}
{{- $parts := splitList "." (include "purpleflea.usdc" .) -}}
{{- add (mul 1000000 (int64 (first $parts))) (printf "%s000000" (last $parts) | trunc 6 | printf "1%s" | int64) -1000000 -}}
{{- end -}}

{{/* USDC of micro-USDC. */}}
{{- define "purpleflea.ofMicro" -}}
{{- printf "%d.%06d" (div . 1000000) (mod . 1000000) | include "purpleflea.usdc" -}}
{{- end -}}

{{- define "purpleflea.amountProblems" -}}
{{- $s := . -}}{{- $most := 0 -}}{{- $total := 0 -}}
{{- $least := get (dict "kubernetes" "0.10" "fly" "0.001" "server" "0.10") .api.dialect -}}
{{- $amounts := dict "escrow.defaultBudgetUsdc" .escrow.defaultBudgetUsdc "worker.budgetUsdc" .worker.budgetUsdc -}}
{{- range $index, $agent := .agents }}{{ $_ := set $amounts (printf "agents[%d].budgetUsdc" $index) $agent.budgetUsdc }}{{ end -}}
{{- range $path, $amount := $amounts }}
{{- if and $amount (lt (include "purpleflea.micro" $amount | int64) (include "purpleflea.micro" $least | int64)) }}
purpleflea.{{ $path }}: {{ include "purpleflea.usdc" $amount }} USDC is below the service's minimum for an escrow, {{ include "purpleflea.usdc" $least }}
{{- end }}
{{- end }}
{{- /* The most that may be locked at one time, each fee rounded up: how many of what, by amount. */ -}}
{{- $lines := list -}}{{- $counts := dict -}}
{{- if .worker.enabled }}{{ $lines = append $lines (list (ternary .hpa.maxReplicas .worker.replicas .hpa.enabled) "workers" .worker) }}{{ end -}}
{{- range .agents }}{{ $lines = append $lines (list 1 (ternary "CronJobs" "Jobs" (ne .schedule "")) .) }}{{ end -}}
{{- $order := list -}}{{- $fees := 0 -}}
{{- range $lines -}}
  {{- $amount := include "purpleflea.taskBudget" (list $s (last .)) -}}
  {{- $each := include "purpleflea.micro" $amount | int64 -}}
  {{- $what := printf "%s x %s" (index . 1) $amount -}}
  {{- $order = append $order $what | uniq -}}
  {{- $_ := set $counts $what (add (get $counts $what | default 0) (first .)) -}}
  {{- $total = add $total (mul (first .) $each) -}}
  {{- $fees = add $fees (mul (first .) (div (add $each 99) 100)) -}}
  {{- if and (hasKey (last .) "name") (eq $s.funding.mode "request") }}{{ $most = max $most $each }}{{ end -}}
{{- end -}}
{{- $terms := list }}{{ range $order }}{{ $terms = append $terms (printf "%d %s" (get $counts .) .) }}{{ end -}}
{{- $total = add $total $fees -}}
{{- if and .budget.capUsdc (gt (int64 $total) (include "purpleflea.micro" .budget.capUsdc | int64)) }}
purpleflea.budget.capUsdc: {{ include "purpleflea.usdc" .budget.capUsdc }} USDC is less than the stack may lock at one time: {{ join " + " $terms }} = {{ include "purpleflea.ofMicro" (sub $total $fees) }} USDC, and {{ include "purpleflea.ofMicro" $fees }} USDC of fees, together {{ include "purpleflea.ofMicro" $total }} USDC; raise it, or lower budgets or hpa.maxReplicas
{{- end }}
{{- range $name, $limit := omit .budget "capUsdc" }}
{{- if and (hasSuffix "Usdc" $name) $limit (lt (include "purpleflea.micro" $limit | int64) (int64 $most)) }}
purpleflea.budget.{{ $name }}: {{ include "purpleflea.usdc" $limit }} USDC is less than one agent's Job asks for, {{ include "purpleflea.ofMicro" $most }}: it would never run
{{- end }}
{{- end }}
{{- end -}}

{{- define "purpleflea.agentProblems" -}}
{{- $s := first . -}}{{- $names := last . -}}{{- $request := eq $s.funding.mode "request" -}}
{{- range $index, $agent := $s.agents }}
{{- $path := printf "purpleflea.agents[%d]" $index }}
{{- $count := 0 }}{{ range $s.agents }}{{ if eq .name $agent.name }}{{ $count = add1 $count }}{{ end }}{{ end }}
{{- if gt (int $count) 1 }}
{{ $path }}.name: '{{ .name }}' stands {{ $count }} times; names are unique
{{- end }}
{{- if and $request (not .payee) }}
{{ $path }}.payee: is required where the operator funds the Job
{{- end }}
{{- if and $request .escrowId }}
{{ $path }}.escrowId: belongs to funding.mode: annotation
{{- end }}
{{- if and .schedule .escrowId }}
{{ $path }}.escrowId: pays for one Job only, not for a schedule; use funding.mode: request
{{- end }}
{{- if and .ownSecret (ne .credential "own") }}
{{ $path }}.ownSecret: belongs to credential: own
{{- else if eq .ownSecret $s.secret }}
{{ $path }}.ownSecret: is the payer's Secret; name one of the agent's own, or write credential: payer
{{- end }}
{{- if and .completions (lt (int .completions) (int .parallelism)) }}
{{ $path }}.completions: {{ int .completions }} is fewer than parallelism ({{ int .parallelism }})
{{- end }}
{{ include "purpleflea.variableProblems" (list (printf "%s.env" $path) .env $names) }}
{{- end }}
{{ include "purpleflea.variableProblems" (list "purpleflea.worker.env" $s.worker.env $names) }}
{{- end -}}

{{- define "purpleflea.variableProblems" -}}
{{- $path := first . -}}{{- $names := last . -}}
{{- range $name, $_ := index . 1 }}{{ if has $name $names.variables }}
{{ $path }}.{{ $name }}: is set by the stack; choose another name
{{- end }}{{ end }}
{{- end -}}

{{/* What a look at the cluster tells, where there is one: `helm template` and Argo CD see none. (list . $s) */}}
{{- define "purpleflea.clusterProblems" -}}
{{- $s := last . -}}{{- $namespace := dict -}}
{{- $apis := (first .).Capabilities.APIVersions }}
{{- if and $s.createPolicies ($apis.Has "v1/Pod") (not ($apis.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")) }}
{{- if $s.gate }}
purpleflea.admission.jobGate: the cluster has no MutatingAdmissionPolicy (admissionregistration.k8s.io/v1, Kubernetes 1.36), which holds back Jobs until their money is locked; upgrade it, or set operator.enabled: false
{{- else if $s.keepsKey }}
purpleflea.credentials.existingSecret: the cluster has no MutatingAdmissionPolicy (admissionregistration.k8s.io/v1, Kubernetes 1.36), which keeps a rotated key in the chart's own Secret; upgrade it, or name a Secret that is there
{{- end }}
{{- end }}
{{- /* With rights to one namespace alone, a look at namespaces would be refused. */ -}}
{{- $there := dict }}{{ $sees := dict }}
{{- if $s.createNamespace }}
{{- $there = lookup "v1" "Namespace" "" $s.namespace }}
{{- $sees = or $there (lookup "v1" "Namespace" "" "kube-system") }}
{{- else }}
{{- $there = lookup "v1" "ServiceAccount" $s.namespace "default" }}
{{- $sees = $there }}
{{- end }}
{{- if and $sees $s.credentials.existingSecret (not (lookup "v1" "Secret" $s.namespace $s.secret)) }}
purpleflea.credentials.existingSecret: there is no Secret {{ $s.secret }} in the namespace {{ $s.namespace }}; make it first:{{ if not $there }} kubectl create namespace {{ $s.namespace }};{{ end }} kubectl create secret generic {{ $s.secret }} -n {{ $s.namespace }} --from-file={{ $s.credentials.apiKeyKey }}=FILE --from-literal={{ $s.credentials.agentWalletKey }}=ID
{{- end }}
{{- if and $s.createNamespace $there (include "purpleflea.foreignNamespace" .) (ne (dig "metadata" "labels" "pod-security.kubernetes.io/enforce" "" $there) "restricted") }}
purpleflea.namespace: {{ $s.namespace }} is there already and does not enforce the restricted Pod Security level, without which no pod gets the API key: kubectl label namespace {{ $s.namespace }} pod-security.kubernetes.io/enforce=restricted
{{- end }}
{{- if $s.createCrd }}
{{- with lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "escrows.purpleflea.com" }}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" . }}
{{- if ne $owner (first $).Release.Name }}
purpleflea.createCrd: the definition of the accounts is {{ with $owner }}the release {{ . }}'s{{ else }}there already{{ end }}; set createCrd: false, or take it over with --take-ownership
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether the namespace is there and not this release's: (list . $s). Then it is left as it is. */}}
{{- define "purpleflea.foreignNamespace" -}}
{{- with lookup "v1" "Namespace" "" (last .).namespace -}}
{{- if ne (dig "metadata" "annotations" "meta.helm.sh/release-name" "" .) (first $).Release.Name }}true{{ end -}}
{{- end -}}
{{- end -}}
