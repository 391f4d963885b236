{{/*
For other charts, with `.` of theirs: what makes a pod of theirs an agent that is paid. Each gives YAML.

  initContainers:
    {{- include "purpleflea.faucetInitContainer" . | nindent 4 }}
    {{- include "purpleflea.mcpSidecar" . | nindent 4 }}

The faucet's claim and the sidecar need the volumes of "purpleflea.volumes"; a pod with them needs the labels of
"purpleflea.podLabels" and a ServiceAccount that `admission.allowedServiceAccounts` names, or pf-agent-sa.
*/}}
{{- define "purpleflea.faucetInitContainer" -}}
{{- $s := include "purpleflea.settings" . | fromJson -}}
{{- if and $s.enabled $s.faucet.claimOnStartup -}}
{{- list (include "purpleflea.faucetContainer" (list $s "" "") | fromJson) | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "purpleflea.mcpSidecar" -}}
{{- $s := include "purpleflea.settings" . | fromJson -}}
{{- if and $s.enabled $s.mcp.enabled -}}
{{- list (include "purpleflea.sidecarContainer" $s | fromJson) | toYaml -}}
{{- end -}}
{{- end -}}

{{/* Variables of the agent's own container: the guide's, without the key. */}}
{{- define "purpleflea.env" -}}
{{- $s := include "purpleflea.settings" . | fromJson -}}
{{- if $s.enabled -}}
{{- include "purpleflea.agentEnv" (dict "s" $s "agentId" "" "secret" "" "holdsKey" false "own" dict "values" list) | trim -}}
{{- end -}}
{{- end -}}

{{- define "purpleflea.volumes" -}}
{{- $s := include "purpleflea.settings" . | fromJson -}}
{{- if $s.enabled -}}
{{- (include "purpleflea.agentVolumes" (list $s "") | fromJson).volumes | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "purpleflea.podLabels" -}}
{{ include "purpleflea.selector" "agent" }}
app: purple-flea-agent
{{- end -}}

{{/*
What a Job of another chart asks for: (dict "context" . "payee" "worker-7" "amountUsdc" "0.10" "workId" "report-1"), or
"escrowId" in place of payee and amount. The amount is the settings' default where none is given. Without `suspend`:
the API server holds the Job back.
*/}}
{{- define "purpleflea.jobAnnotations" -}}
{{- $s := include "purpleflea.settings" .context | fromJson -}}
{{- if .escrowId -}}
purpleflea.com/escrow-id: {{ .escrowId | quote }}
{{- else -}}
{{- $payee := required "purpleflea.jobAnnotations: payee is required: who is paid, or escrowId" .payee -}}
{{- $amount := .amountUsdc | default $s.escrow.defaultBudgetUsdc -}}
{{- if not (regexMatch "^[0-9]{1,9}(\\.[0-9]{1,6})?$" (toString $amount) | and (kindIs "string" $amount)) -}}
{{- fail "purpleflea.jobAnnotations: amountUsdc: write the amount in quotes, e.g. \"0.10\"" -}}
{{- end -}}
purpleflea.com/escrow-request: {{ include "purpleflea.request" (list $payee (include "purpleflea.usdc" $amount)) | quote }}
{{- end }}
{{- with .workId }}
purpleflea.com/work-id: {{ . | quote }}
{{- end }}
{{- end -}}
