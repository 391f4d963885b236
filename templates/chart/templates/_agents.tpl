{{/* Which Secret an agent's pod uses: empty for the payer's. */}}
{{- define "purpleflea.ownSecret" -}}
{{- if eq .credential "own" }}{{ .ownSecret | default (printf "%s-creds" .name) }}{{ end -}}
{{- end -}}

{{/* The init container that claims the one free dollar, as JSON: (list $s "agentId" "secret"). */}}
{{- define "purpleflea.faucetContainer" -}}
{{- $s := first . -}}{{- $agentId := index . 1 -}}{{- $secret := index . 2 -}}
{{- $text := include "purpleflea.faucetText" . -}}
{{- include "purpleflea.container" (dict "s" $s "text" $text) -}}
{{- end -}}

{{- define "purpleflea.faucetText" -}}
{{- $s := first . -}}{{- $agentId := index . 1 -}}{{- $secret := index . 2 -}}
name: faucet-claim
command: [python, -m, runtime.faucet_claim]
{{ include "purpleflea.resources" $s.faucet.resources }}
env:
{{ include "purpleflea.keyEnv" (list $s $secret "PF_API_KEY") }}
{{ include "purpleflea.identityEnv" (list $s $agentId $secret "AGENT_ID") }}
{{ include "purpleflea.urlEnv" (list $s "faucet" $secret) }}
- {name: PF_API_DIALECT, value: {{ $s.api.dialect }}}
{{- if $s.sandbox.enabled }}
- {name: PF_ALLOW_HTTP, value: "true"}
{{- end }}
- {name: PF_FAUCET_REQUIRED, value: {{ $s.faucet.required | quote }}}
- {name: PF_FAUCET_DEADLINE_SECONDS, value: {{ int $s.faucet.deadlineSeconds | quote }}}
- {name: WORKSPACE, value: /workspace}
{{- include "purpleflea.logLevel" $s }}
volumeMounts:
- {name: agent-workspace, mountPath: /workspace}
{{- end -}}

{{/* The MCP proxy, a native sidecar: an init container that keeps running and never holds up a Job. As JSON. */}}
{{- define "purpleflea.sidecarContainer" -}}
{{- include "purpleflea.container" (dict "s" . "text" (include "purpleflea.sidecarText" .)) -}}
{{- end -}}

{{- define "purpleflea.sidecarText" -}}
{{- $port := int .mcp.containerPort -}}
{{- $rules := include "purpleflea.mcpRules" . | fromYaml -}}
name: pf-mcp-proxy
command: [python, -m, runtime.mcp_proxy]
{{ include "purpleflea.resources" .mcp.resources }}
restartPolicy: Always
env:
{{ include "purpleflea.keyFileEnv" . }}
{{- $s := . }}
{{- range $service := list "faucet" "escrow" }}
{{- if or (get $s.mcp (printf "%sEndpoint" .)) (get $s.services (printf "%sUrl" .)) $s.sandbox.enabled }}
- {name: MCP_{{ upper . }}_URL, value: {{ get $s.mcpUrl . | quote }}}
{{- else }}
{{ include "purpleflea.urlEnv" (list $s . "") }}
- {name: MCP_{{ upper . }}_URL, value: "$(PF_{{ upper . }}_URL)/mcp"}
{{- end }}
{{- end }}
- {name: MCP_PORT, value: {{ $port | quote }}}
- {name: PF_HEALTH_PORT, value: "8081"}
- {name: PF_MCP_STATE_DIRECTORY, value: /var/lib/mcp-proxy}
{{- if $rules }}
- {name: PF_MCP_RULES_FILE, value: /etc/mcp-proxy/rules.json}
{{- end }}
{{- if .sandbox.enabled }}
- {name: PF_ALLOW_HTTP, value: "true"}
{{- end }}
{{- include "purpleflea.logLevel" . }}
ports:
- {name: mcp, containerPort: {{ $port }}}
- {name: health, containerPort: 8081}
startupProbe: {httpGet: {path: /readyz, port: health}, timeoutSeconds: 3, periodSeconds: 1, failureThreshold: 60}
livenessProbe: {httpGet: {path: /livez, port: health}, timeoutSeconds: 3, periodSeconds: 10, failureThreshold: 6}
volumeMounts:
{{ include "purpleflea.keyMount" . }}
- {name: mcp-state, mountPath: /var/lib/mcp-proxy}
{{- if $rules }}
- {name: pf-mcp-rules, mountPath: /etc/mcp-proxy, readOnly: true}
{{- end }}
{{- end -}}

{{/* What agents may call and spend; empty without any rule. */}}
{{- define "purpleflea.mcpRules" -}}
{{- $mcp := .mcp -}}
{{- if or $mcp.denyTools $mcp.payees $mcp.spendLimitUsdc }}
servers:
  escrow:
    {{- with $mcp.denyTools }}
    deny: {{ toJson . }}
    {{- end }}
    {{- with $mcp.payees }}
    payees:
    {{- range . }}
    - {{ . | quote }}
    {{- end }}
    {{- end }}
    {{- with $mcp.spendLimitUsdc }}
    spend_limit: {{ include "purpleflea.usdc" . | quote }}
    {{- end }}
{{- end }}
{{- if or $mcp.podBudgetUsdc $mcp.podDailyBudgetUsdc }}
budgets:
{{- range list (list "pod" $mcp.podBudgetUsdc) (list "day" $mcp.podDailyBudgetUsdc) }}
{{- if last . }}
- {name: {{ first . }}, limit: {{ include "purpleflea.usdc" (last .) | quote }}, window: {{ first . }}, on_exceed: {{ snakecase $mcp.onExceed }}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Volumes of an agent's pod, as JSON of {"volumes": [...]}: (list $s "secret"). */}}
{{- define "purpleflea.agentVolumes" -}}
{{- $s := first . -}}
{{- $volumes := list (dict "name" "agent-workspace" "emptyDir" (dict "sizeLimit" "1Gi")) (dict "name" "tmp" "emptyDir" (dict "sizeLimit" "256Mi")) -}}
{{- if $s.mcp.enabled -}}
  {{- $volumes = append $volumes (include "purpleflea.keyVolume" . | fromJson) -}}
  {{- $volumes = append $volumes (dict "name" "mcp-state" "emptyDir" (dict "sizeLimit" "64Mi")) -}}
  {{- if include "purpleflea.mcpRules" $s | fromYaml -}}
    {{- $volumes = append $volumes (dict "name" "pf-mcp-rules" "configMap" (dict "name" "pf-mcp-rules")) -}}
  {{- end -}}
{{- end -}}
{{- dict "volumes" $volumes | toJson -}}
{{- end -}}

{{/*
Variables of an agent's own container: (dict "s" "agentId" "secret" "holdsKey" "own" "values"), `values` in order as a
list of (list "NAME" "value").
*/}}
{{- define "purpleflea.agentEnv" -}}
{{- $s := .s -}}
{{- if .holdsKey }}
{{ include "purpleflea.keyEnv" (list $s .secret "PF_API_KEY") }}
{{- end }}
{{ include "purpleflea.identityEnv" (list $s .agentId .secret "AGENT_ID") }}
{{ include "purpleflea.apiEnv" (list $s .secret) }}
{{ include "purpleflea.urlEnv" (list $s "faucet" .secret) }}
- {name: WORKSPACE, value: /workspace}
{{- range .values }}
{{- if last . }}
- {name: {{ first . }}, value: {{ last . | quote }}}
{{- end }}
{{- end }}
{{- range $service := list "casino" "trading" "wallet" "domains" }}
- {name: PF_{{ upper $service }}_URL, value: {{ get $s.url $service | quote }}}
{{- end }}
{{- if $s.mcp.enabled }}
- {name: MCP_PROXY_URL, value: "http://localhost:{{ int $s.mcp.containerPort }}"}
{{- end }}
{{- range $name, $value := .own }}
- {name: {{ quote $name }}, value: {{ quote $value }}}
{{- end }}
{{- end -}}

{{/*
The command of an agent's own container: its own, else ours in our image, else none: (list $of (list "..." )). As a line.
*/}}
{{- define "purpleflea.command" -}}
{{- $of := first . -}}
{{- $ownImage := $of.image -}}
{{- range ($of.podTemplate.spec | default dict).containers -}}
  {{- if and (eq (toString .name) "agent") (hasKey . "image") }}{{ $ownImage = "own" }}{{ end -}}
{{- end -}}
{{- with $of.command | default (ternary list (last .) (ne $ownImage "")) }}
command: {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "purpleflea.agentMounts" -}}
volumeMounts:
- {name: agent-workspace, mountPath: /workspace}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* A pod's `spec` around an agent's container, as JSON: (dict "s" "container" "agentId" "secret" "account" "more"). */}}
{{- define "purpleflea.agentPod" -}}
{{- $s := .s -}}
{{- $init := list -}}
{{- if $s.faucet.claimOnStartup }}{{ $init = append $init (include "purpleflea.faucetContainer" (list $s .agentId .secret) | fromJson) }}{{ end -}}
{{- if $s.mcp.enabled }}{{ $init = append $init (include "purpleflea.sidecarContainer" $s | fromJson) }}{{ end -}}
{{- $volumes := (include "purpleflea.agentVolumes" (list $s .secret) | fromJson).volumes -}}
{{- include "purpleflea.podSpec" (dict "s" $s "account" .account "apiAccess" (ne .account "pf-agent-sa") "containers" (list .container) "initContainers" $init "volumes" $volumes "more" .more) -}}
{{- end -}}

{{/* The workers' own container, as JSON. */}}
{{- define "purpleflea.workerContainer" -}}
{{- include "purpleflea.container" (dict "s" . "text" (include "purpleflea.workerText" .) "image" .worker.image) -}}
{{- end -}}

{{- define "purpleflea.workerText" -}}
{{- $worker := .worker -}}
{{- $values := list (list "TASK_DESCRIPTION" $worker.task) (list "TASK_BUDGET_USDC" (include "purpleflea.taskBudget" (list . $worker))) -}}
{{- if $worker.workLog -}}
  {{- $values = append $values (list "PF_WORK_LOG_READER" (printf "system:serviceaccount:%s:pf-payroll-sa" .namespace)) -}}
  {{- $values = append $values (list "PF_GRACE_SECONDS" (sub $worker.terminationGracePeriodSeconds 15 | max 0 | toString)) -}}
{{- end -}}
name: agent
{{- include "purpleflea.command" (list $worker (list "python" "-m" "runtime.agent_worker")) }}
{{ include "purpleflea.resources" $worker.resources }}
env:
{{- include "purpleflea.agentEnv" (dict "s" . "agentId" "" "secret" "" "holdsKey" (eq $worker.credential "payer") "own" $worker.env "values" $values) }}
{{- if $worker.workLog }}
{{ include "purpleflea.walletEnv" . }}
{{- end }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
ports:
- {name: worker, containerPort: 8080}
{{- if $worker.probes }}
{{ include "purpleflea.probes" "worker" }}
{{- end }}
{{ include "purpleflea.agentMounts" . }}
{{- end -}}

{{/* An agent's own container, as JSON: (list $s $agent). */}}
{{- define "purpleflea.agentContainer" -}}
{{- include "purpleflea.container" (dict "s" (first .) "text" (include "purpleflea.agentText" .) "image" (last .).image) -}}
{{- end -}}

{{- define "purpleflea.agentText" -}}
{{- $s := first . -}}{{- $agent := last . -}}
{{- $values := list (list "AGENT_NAME" $agent.name) (list "TASK_DESCRIPTION" $agent.task) (list "TASK_BUDGET_USDC" (include "purpleflea.taskBudget" .)) -}}
name: agent
{{- include "purpleflea.command" (list $agent (list "python" "-m" "runtime.agent_worker" "--once")) }}
{{ include "purpleflea.resources" $agent.resources }}
env:
{{- include "purpleflea.agentEnv" (dict "s" $s "agentId" $agent.agentId "secret" (include "purpleflea.ownSecret" $agent) "holdsKey" (ne $agent.credential "none") "own" $agent.env "values" $values) }}
{{ include "purpleflea.agentMounts" . }}
{{- end -}}

{{/* Labels of an agent's Jobs and pods. */}}
{{- define "purpleflea.agentLabels" -}}
{{ include "purpleflea.selector" "agent" }}
app: purple-flea-agent
purpleflea.com/agent: {{ .name | quote }}
{{- end -}}

{{/* An agent's pod template, as YAML: (list $s $agent "path"). */}}
{{- define "purpleflea.agentTemplate" -}}
{{- $s := first . -}}{{- $agent := index . 1 -}}
{{- $container := include "purpleflea.agentContainer" (list $s $agent) | fromJson -}}
{{- $spec := include "purpleflea.agentPod" (dict "s" $s "container" $container "agentId" $agent.agentId "secret" (include "purpleflea.ownSecret" $agent) "account" "pf-agent-sa" "more" (dict "restartPolicy" "Never")) | fromJson -}}
{{- $labels := include "purpleflea.agentLabels" $agent | fromYaml -}}
{{- include "purpleflea.template" (dict "template" (dict "metadata" (dict "labels" $labels) "spec" $spec) "part" $agent.podTemplate "path" (printf "%s.podTemplate" (last .))) -}}
{{- end -}}

{{/* `metadata` and `spec` of an agent's Job, as JSON: (list $s $agent "path"). */}}
{{- define "purpleflea.jobTemplate" -}}
{{- $base := include "purpleflea.jobText" . | fromYaml -}}
{{- if $base.Error }}{{ fail $base.Error }}{{ end -}}
{{- $path := printf "%s.job" (last .) -}}
{{- $found := (include "purpleflea.merge" (dict "base" $base "patch" (index . 1).job "path" $path) | fromJson).value -}}
{{- if and $found.spec.podFailurePolicy (ne (toString $found.spec.template.spec.restartPolicy) "Never") -}}
{{- include "purpleflea.refuse" (list (printf "%s.spec.podFailurePolicy: is for restartPolicy Never; with OnFailure write `job: {spec: {podFailurePolicy: null}}`" $path)) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- define "purpleflea.jobText" -}}
{{- $s := first . -}}{{- $agent := index . 1 -}}
{{- $template := include "purpleflea.agentTemplate" . -}}
{{- $pod := (fromYaml $template).spec -}}
{{- $there := list -}}
{{- range concat ($pod.initContainers | default list) $pod.containers }}{{ $there = append $there .name }}{{ end -}}
metadata:
  labels:
    {{- include "purpleflea.agentLabels" $agent | nindent 4 }}
  {{- if eq $s.funding.mode "request" }}
  annotations:
    purpleflea.com/escrow-request: {{ include "purpleflea.request" (list $agent.payee (include "purpleflea.taskBudget" (list $s $agent))) | quote }}
  {{- else if $agent.escrowId }}
  annotations:
    purpleflea.com/escrow-id: {{ $agent.escrowId | quote }}
  {{- end }}
spec:
  backoffLimit: {{ int $s.job.backoffLimit }}
  activeDeadlineSeconds: {{ int $s.job.activeDeadlineSeconds }}
  parallelism: {{ int $agent.parallelism }}
  completions: {{ $agent.completions | default $agent.parallelism | int }}
  {{- if $agent.schedule }}
  {{- /* A Job of the manifests themselves has none: whatever applies them again would create it anew, and pay again. */}}
  ttlSecondsAfterFinished: {{ int $s.job.ttlSecondsAfterFinished }}
  {{- end }}
  podFailurePolicy:
    rules:
    {{- /* A wrong setting is wrong at each retry. Of our own containers by name: a sidecar's 2 may mean anything. */}}
    {{- range list "faucet-claim" "agent" }}
    {{- if has . $there }}
    - action: FailJob
      onExitCodes: {containerName: {{ . }}, operator: In, values: [2]}
    {{- end }}
    {{- end }}
    {{- /* A drained node is no failure of the work, and must not become a dispute. */}}
    - action: Ignore
      onPodConditions:
      - {type: DisruptionTarget, status: "True"}
  template:
    {{- $template | nindent 4 }}
{{- end -}}

{{/* What a Job asks the operator to lock: (list "payee" "amount"). */}}
{{- define "purpleflea.request" -}}
{"payee": {{ include "purpleflea.json" (first .) }}, "amountUsdc": {{ include "purpleflea.json" (last .) }}}
{{- end -}}

{{/*
An agent's Job as JSON, named by its content: a template cannot change, so a changed agent is a new Job. It carries
neither `suspend` nor a finalizer: the API server's gate does that, and no upgrade or rollback can undo the operator.
(list $s $agent "path")
*/}}
{{- define "purpleflea.job" -}}
{{- $s := first . -}}{{- $agent := index . 1 -}}
{{- $job := include "purpleflea.jobTemplate" . | fromJson -}}
{{- $_ := set $job "apiVersion" "batch/v1" -}}
{{- $_ := set $job "kind" "Job" -}}
{{- $_ := set $job "metadata" (merge $job.metadata (dict "namespace" $s.namespace)) -}}
{{- $content := printf "%s-%s" $agent.name (include "purpleflea.hash" $job) -}}
{{- $_ := set $job.metadata "name" (ternary $agent.name $content $s.job.stableName) -}}
{{- /* After the hash: an identity that changed the name would make every Job new work. */ -}}
{{- $id := dict "purpleflea.com/work-id" ($agent.workId | default $content) -}}
{{- $_ := set $job.metadata "annotations" (mergeOverwrite ($job.metadata.annotations | default dict) $id) -}}
{{- toJson $job -}}
{{- end -}}
