{{/* The stack's own containers that hold the payer's key, as JSON of {"found": [...]}. */}}
{{- define "purpleflea.keyHolders" -}}
{{- $found := list -}}
{{- if .faucet.claimOnStartup }}{{ $found = append $found (include "purpleflea.faucetContainer" (list . "" "") | fromJson) }}{{ end -}}
{{- if .mcp.enabled }}{{ $found = append $found (include "purpleflea.sidecarContainer" . | fromJson) }}{{ end -}}
{{- if .operator.enabled }}{{ $found = append $found (include "purpleflea.operatorContainer" . | fromJson) }}{{ end -}}
{{- if .pays }}{{ $found = append $found (include "purpleflea.payrollContainer" . | fromJson) }}{{ end -}}
{{- if .scales }}{{ $found = append $found (include "purpleflea.metricsContainer" . | fromJson) }}{{ end -}}
{{- if .sandbox.enabled }}{{ $found = append $found (include "purpleflea.sandboxContainer" . | fromJson) }}{{ end -}}
{{- dict "found" $found | toJson -}}
{{- end -}}

{{/* Agents' own containers that hold it, with `credential: payer`; the same form. */}}
{{- define "purpleflea.keyAgents" -}}
{{- $s := . -}}{{- $pods := list -}}
{{- range $index, $agent := .agents -}}
  {{- if eq .credential "payer" }}{{ $pods = append $pods (include "purpleflea.agentTemplate" (list $s $agent (printf "purpleflea.agents[%d]" $index)) | fromYaml).spec }}{{ end -}}
{{- end -}}
{{- if and .worker.enabled (eq .worker.credential "payer") }}{{ $pods = append $pods (include "purpleflea.workers" . | fromYaml).spec.template.spec }}{{ end -}}
{{- $found := list -}}
{{- range $pods }}{{ range .containers }}{{ if eq .name "agent" }}{{ $found = append $found . }}{{ end }}{{ end }}{{ end -}}
{{- dict "found" $found | toJson -}}
{{- end -}}

{{- define "purpleflea.keyNames" -}}
{{- $names := list -}}
{{- range concat (include "purpleflea.keyHolders" . | fromJson).found (include "purpleflea.keyAgents" . | fromJson).found }}{{ $names = append $names .name }}{{ end -}}
{{- dict "found" ($names | uniq | sortAlpha) | toJson -}}
{{- end -}}

{{/* ServiceAccounts of the stack that run a program with the key, then those that the settings allow. */}}
{{- define "purpleflea.keyAccounts" -}}
{{- $usual := .workerAccount -}}
{{- $agents := list -}}
{{- range .agents }}{{ $agents = append $agents ((.podTemplate.spec | default dict).serviceAccountName | default "pf-agent-sa") }}{{ end -}}
{{- if .worker.enabled }}{{ $agents = append $agents ((.worker.podTemplate.spec | default dict).serviceAccountName | default $usual) }}{{ end -}}
{{- $found := concat (list "pf-agent-sa") (without ($agents | uniq | sortAlpha) "pf-agent-sa") -}}
{{- if .operator.enabled }}{{ $found = append $found "pf-operator-sa" }}{{ end -}}
{{- if .pays }}{{ $found = append $found "pf-payroll-sa" }}{{ end -}}
{{- if .scales }}{{ $found = append $found "pf-metrics-sa" }}{{ end -}}
{{- if .sandbox.enabled }}{{ $found = append $found "pf-sandbox-sa" }}{{ end -}}
{{- dict "found" (concat $found .admission.allowedServiceAccounts) | toJson -}}
{{- end -}}

{{/* CEL: whether a container is one that the chart renders with the key: by all that it could do harm with. */}}
{{- define "purpleflea.isKnown" -}}
{{- $ways := list -}}
{{- range (include "purpleflea.keyHolders" . | fromJson).found -}}
  {{- $env := list -}}
  {{- range .env }}{{ $env = append $env (include "purpleflea.variable" .) }}{{ end -}}
  {{- $mounts := list -}}
  {{- range .volumeMounts }}{{ $mounts = append $mounts (printf "%s:%s" .name .mountPath) }}{{ end -}}
  {{- $parts := list (include "purpleflea.isSame" .) (include "purpleflea.isPlain" .) -}}
  {{- $parts = append $parts (printf "c.?env.orValue([]).all(e, (e.name == 'AGENT_ID' && !has(e.valueFrom) && !e.?value.orValue('').contains('$(')) || (e.?valueFrom.?secretKeyRef.hasValue() ? e.name + '<' + e.valueFrom.secretKeyRef.name + '/' + e.valueFrom.secretKeyRef.key : e.?valueFrom.?fieldRef.hasValue() ? e.name + '<' + e.valueFrom.fieldRef.fieldPath : has(e.valueFrom) ? '' : e.name + '=' + e.?value.orValue('')) in %s)" (include "purpleflea.list" ($env | uniq | sortAlpha))) -}}
  {{- $parts = append $parts (printf "c.?volumeMounts.orValue([]).all(m, ((m.name + ':' + m.mountPath) in %s || m.mountPath == \"/var/run/secrets/kubernetes.io/serviceaccount\") && !has(m.subPath) && !has(m.subPathExpr))" (include "purpleflea.list" ($mounts | sortAlpha))) -}}
  {{- $ways = append $ways (printf "(%s)" (join " && " $parts)) -}}
{{- end -}}
{{- $agents := list -}}
{{- range (include "purpleflea.keyAgents" . | fromJson).found }}{{ $agents = append $agents (printf "(%s)" (include "purpleflea.isSame" .)) }}{{ end -}}
{{- concat $ways ($agents | uniq | sortAlpha) | join " || " | default "false" -}}
{{- end -}}

{{- define "purpleflea.isSame" -}}
c.name == {{ include "purpleflea.json" .name }} && c.image == {{ include "purpleflea.json" .image }} && c.?command.orValue([]) == {{ include "purpleflea.list" (.command | default list) }}
{{- end -}}

{{/* CEL: nothing else runs in it: no arguments, no hook, no probe by a command, no other folder to load modules from. */}}
{{- define "purpleflea.isPlain" -}}
c.?args.orValue([]).size() == 0 && c.?envFrom.orValue([]).size() == 0 && c.?volumeDevices.orValue([]).size() == 0 && !c.?livenessProbe.?exec.hasValue() && !c.?readinessProbe.?exec.hasValue() && !c.?startupProbe.?exec.hasValue() && !c.?stdin.orValue(false) && !c.?tty.orValue(false) && c.?workingDir.orValue('') == '' && !has(c.lifecycle)
{{- end -}}

{{- define "purpleflea.variable" -}}
{{- $source := .valueFrom | default dict -}}
{{- if $source.secretKeyRef -}}
{{ .name }}<{{ $source.secretKeyRef.name }}/{{ $source.secretKeyRef.key }}
{{- else if $source.fieldRef -}}
{{ .name }}<{{ $source.fieldRef.fieldPath }}
{{- else -}}
{{ .name }}={{ .value }}
{{- end -}}
{{- end -}}

{{/* CEL: whether whoever asks has this right to an object: (list "verb" "resource" "name in CEL"). */}}
{{- define "purpleflea.may" -}}
authorizer.group('').resource('{{ index . 1 }}').namespace(request.namespace).name({{ index . 2 }}).check('{{ index . 0 }}').allowed()
{{- end -}}

{{/* A resource rule: (list "group" "version" (list operations) (list resources)). */}}
{{- define "purpleflea.on" -}}
- apiGroups: [{{ index . 0 | quote }}]
  apiVersions: [{{ index . 1 }}]
  operations: {{ index . 2 | toJson }}
  resources: {{ index . 3 | toJson }}
{{- end -}}

{{/* A refusal: (list "CEL that must hold" "what is said where it does not"). */}}
{{- define "purpleflea.refusal" -}}
- expression: {{ first . | quote }}
  message: {{ last . | quote }}
  reason: Forbidden
{{- end -}}

{{/* Puts a policy in force: (dict "s" "kind" "name" "selector" "deny"), by default in the stack's namespace. */}}
{{- define "purpleflea.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: {{ .kind | default "ValidatingAdmissionPolicyBinding" }}
{{ include "purpleflea.clusterMetadata" (list .s .name "") }}
spec:
  policyName: {{ .name | quote }}
  matchResources:
    namespaceSelector:
      {{- if .selector }}
      {{- .selector | nindent 6 }}
      {{- else }}
      matchLabels: {kubernetes.io/metadata.name: {{ .s.namespace | quote }}}
      {{- end }}
  {{- if ne .kind "MutatingAdmissionPolicyBinding" }}
  validationActions: [Deny]
  {{- end }}
{{- end -}}

{{/* Selector of the namespaces whose Jobs the operator serves. */}}
{{- define "purpleflea.watchedNamespaces" -}}
{{- if .watchSelector -}}
{{- $parts := splitn "=" 2 .watchSelector -}}
matchLabels: {{ dict $parts._0 $parts._1 | toJson }}
{{- else -}}
matchExpressions:
- key: kubernetes.io/metadata.name
  operator: In
  values: {{ toJson .watched }}
{{- end -}}
{{- end -}}
