{{/* The stack's own programs, each as the JSON of its container. */}}
{{- define "purpleflea.operatorContainer" -}}
{{- include "purpleflea.container" (dict "s" . "text" (include "purpleflea.operatorText" .) "image" .operator.image) -}}
{{- end -}}

{{- define "purpleflea.operatorText" -}}
{{- $s := . -}}{{- $operator := .operator -}}{{- $budget := .budget -}}
name: operator
command: [python, -m, runtime.operator]
{{ include "purpleflea.resources" $operator.resources }}
env:
{{ include "purpleflea.keyFileEnv" . }}
{{ include "purpleflea.identityEnv" (list . "" "" "AGENT_ID") }}
{{ include "purpleflea.apiEnv" (list . "") }}
{{- if eq .api.dialect "server" }}
- {name: PF_CASINO_URL, value: {{ .url.casino | quote }}}
{{- end }}
- {name: WATCH_NAMESPACE, value: {{ .watch | quote }}}
- {name: PF_DEFAULT_BUDGET_USDC, value: {{ include "purpleflea.usdc" .escrow.defaultBudgetUsdc | quote }}}
{{- range list "namespace" "namespaceDaily" "agent" "agentDaily" "payee" "payeeDaily" "job" }}
{{- $name := . }}
{{- with get $budget (printf "%sUsdc" .) }}
- {name: PF_{{ snakecase $name | upper }}_BUDGET_USDC, value: {{ include "purpleflea.usdc" . | quote }}}
{{- end }}
{{- end }}
- {name: PF_BUDGET_TIME_ZONE, value: {{ $budget.timeZone | quote }}}
- {name: PF_PAYEES, value: {{ include "purpleflea.list" $budget.payees | quote }}}
- {name: PF_BRING_ESCROWS, value: {{ $budget.bringEscrows | quote }}}
- {name: PF_ALLOWED_ESCROWS, value: {{ include "purpleflea.list" (include "purpleflea.allowedEscrows" . | fromJson).ids | quote }}}
- {name: PF_FORMER_ESCROW_URLS, value: {{ include "purpleflea.list" $operator.formerEscrowUrls | quote }}}
- {name: PF_ESCROW_TIMEOUT_HOURS, value: {{ int .escrow.timeoutHours | quote }}}
- {name: PF_RESYNC_SECONDS, value: {{ int $operator.resyncSeconds | quote }}}
- {name: PF_RERUN_FAILED_WORK, value: {{ $operator.rerunFailedWork | quote }}}
- {name: PF_SCHEDULED_WAIT_SECONDS, value: {{ mul 60 $operator.scheduledWaitMinutes | quote }}}
{{- with $operator.admissionCheck }}
- {name: PF_KUEUE_ADMISSION_CHECK, value: {{ . | quote }}}
{{- end }}
- {name: PF_AUTO_RELEASE, value: {{ .escrow.autoReleaseOnJobComplete | quote }}}
- {name: PF_LEADER_ELECTION, value: {{ gt (int $operator.replicas) 1 | quote }}}
{{ include "purpleflea.podEnv" . }}
ports:
- {name: health, containerPort: 8081}
- {name: metrics, containerPort: 9090}
volumeMounts:
{{ include "purpleflea.keyMount" . }}
{{ include "purpleflea.probes" "health" }}
{{- end -}}

{{/* Escrows whose terms need not name their Job: the settings', and those that they give to agents. */}}
{{- define "purpleflea.allowedEscrows" -}}
{{- $s := . -}}{{- $ids := .budget.allowedEscrows -}}
{{- range $index, $agent := .agents -}}
  {{- if and .escrowId (eq $s.funding.mode "annotation") -}}
    {{- $name := $agent.name -}}
    {{- if not $agent.schedule }}{{ $name = (include "purpleflea.job" (list $s $agent (printf "purpleflea.agents[%d]" $index)) | fromJson).metadata.name }}{{ end -}}
    {{- $ids = append $ids (printf "%s=%s/%s" .escrowId $s.namespace $name) -}}
  {{- end -}}
{{- end -}}
{{- dict "ids" $ids | toJson -}}
{{- end -}}

{{- define "purpleflea.payrollContainer" -}}
{{- include "purpleflea.container" (dict "s" . "text" (include "purpleflea.payrollText" .)) -}}
{{- end -}}

{{- define "purpleflea.payrollText" -}}
{{- $payroll := .payroll -}}
name: payroll
command: [python, -m, runtime.payroll]
{{ include "purpleflea.resources" $payroll.resources }}
env:
{{ include "purpleflea.keyEnv" (list . "" "PF_API_KEY") }}
{{ include "purpleflea.walletEnv" . }}
{{ include "purpleflea.apiEnv" (list . "") }}
- {name: PF_RELEASE_AGE_MINUTES, value: {{ int $payroll.releaseAgeMinutes | quote }}}
- {name: PF_HAS_WORK_LOG, value: {{ .worker.workLog | quote }}}
{{- with $payroll.runCapUsdc }}
- {name: PF_RUN_CAP_USDC, value: {{ include "purpleflea.usdc" . | quote }}}
{{- end }}
{{- with $payroll.payeeCapUsdc }}
- {name: PF_PAYEE_CAP_USDC, value: {{ include "purpleflea.usdc" . | quote }}}
{{- end }}
{{ include "purpleflea.podEnv" . }}
{{- if .worker.workLog }}
volumeMounts:
- {name: work-log-token, mountPath: /var/run/secrets/pf-work-log, readOnly: true}
{{- end }}
{{- end -}}

{{- define "purpleflea.metricsContainer" -}}
{{- include "purpleflea.container" (dict "s" . "text" (include "purpleflea.metricsText" .)) -}}
{{- end -}}

{{- define "purpleflea.metricsText" -}}
name: metrics-server
command: [python, -m, runtime.metrics_server]
{{ include "purpleflea.resources" .hpa.metricsServer.resources }}
env:
{{ include "purpleflea.keyFileEnv" . }}
{{ include "purpleflea.apiEnv" (list . "") }}
- {name: PF_POLL_SECONDS, value: {{ int .hpa.metricsServer.pollSeconds | quote }}}
{{- if ne .hpa.engine "hpa" }}
- {name: PF_CUSTOM_METRICS_PORT, value: "0"}
{{- end }}
{{- if eq .hpa.engine "keda" }}
- {name: PF_QUEUE_READERS, value: "system:serviceaccount:{{ .namespace }}:pf-queue-reader"}
{{- end }}
{{- if .certManager }}
- {name: PF_TLS_DIRECTORY, value: /var/run/tls}
{{- end }}
{{- if .worker.workLog }}
{{ include "purpleflea.walletEnv" . }}
{{- end }}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
ports:
{{- if eq .hpa.engine "hpa" }}
- {name: custom-metrics, containerPort: 8443}
{{- end }}
- {name: metrics, containerPort: 9090}
- {name: health, containerPort: 8081}
volumeMounts:
{{ include "purpleflea.keyMount" . }}
{{- if .certManager }}
- {name: tls, mountPath: /var/run/tls, readOnly: true}
{{- end }}
{{ include "purpleflea.probes" "health" }}
{{- end -}}

{{- define "purpleflea.sandboxContainer" -}}
{{- include "purpleflea.container" (dict "s" . "text" (include "purpleflea.sandboxText" .)) -}}
{{- end -}}

{{- define "purpleflea.sandboxText" -}}
name: sandbox
command: [python, -m, runtime.sandbox, --host, "::", --linger, "20"{{ if .sandbox.onlyOwnDialect }}, --dialect, {{ .api.dialect }}{{ end }}]
{{ include "purpleflea.resources" .sandbox.resources }}
env:
{{ include "purpleflea.keyEnv" (list . "" "PF_SANDBOX_API_KEY") }}
- {name: PF_SANDBOX_DATABASE, value: /data/ledger.db}
{{- include "purpleflea.logLevel" . }}
ports:
- {name: sandbox, containerPort: 8080}
volumeMounts:
- {name: ledger, mountPath: /data}
{{ include "purpleflea.probes" "sandbox" }}
{{- end -}}
