{{/* An image, by the registry of `global.imageRegistry` where that is given: (list $s "image"). */}}
{{- define "purpleflea.image" -}}
{{- $s := first . -}}
{{- $image := last . | default $s.images.runtime -}}
{{- if $s.registry -}}
  {{- $host := splitList "/" $image | first -}}
  {{- $named := and (contains "/" $image) (or (contains "." $host) (contains ":" $host) (eq $host "localhost")) -}}
  {{- $image = printf "%s/%s" $s.registry (ternary (trimPrefix (printf "%s/" $host) $image) $image $named) -}}
{{- end -}}
{{- $image -}}
{{- end -}}

{{/*
A container as JSON: (dict "s" $s "text" "its own fields" "image" "").
No privilege, no capability, a read-only root; and what the company's network adds to it.
*/}}
{{- define "purpleflea.container" -}}
{{- $s := .s -}}
{{- $c := fromYaml .text -}}
{{- if $c.Error }}{{ fail $c.Error }}{{ end -}}
{{- $own := dict -}}
{{- range $c.env }}{{ $_ := set $own .name true }}{{ end -}}
{{- $network := include "purpleflea.networkEnv" $s | fromYaml -}}
{{- range $name := list "HTTPS_PROXY" "HTTP_PROXY" "NO_PROXY" "SSL_CERT_FILE" -}}
  {{- if and (get $network $name) (not (hasKey $own $name)) -}}
    {{- $_ := set $c "env" (append ($c.env | default list) (dict "name" $name "value" (get $network $name))) -}}
  {{- end -}}
{{- end -}}
{{- if $network.SSL_CERT_FILE -}}
  {{- $mount := dict "name" "ca-bundle" "mountPath" "/var/run/ca" "readOnly" true -}}
  {{- $_ := set $c "volumeMounts" (append ($c.volumeMounts | default list) $mount) -}}
{{- end -}}
{{- merge $c (include "purpleflea.hardened" (list $s (.image | default "")) | fromYaml) | toJson -}}
{{- end -}}

{{- define "purpleflea.hardened" -}}
image: {{ include "purpleflea.image" . | quote }}
imagePullPolicy: {{ (first .).images.pullPolicy }}
{{- /* A program that fails without a last message of its own is quoted by its log, in a dispute's evidence too. */}}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
{{- end -}}

{{- define "purpleflea.networkEnv" -}}
{{- $proxy := .network.proxy -}}
{{- $ca := .network.caBundle -}}
HTTPS_PROXY: {{ include "purpleflea.url" $proxy.httpsUrl | quote }}
HTTP_PROXY: {{ include "purpleflea.url" $proxy.httpUrl | quote }}
NO_PROXY: {{ ternary (concat $proxy.noProxy (list ".svc" ".cluster.local" "localhost" "127.0.0.1" "::1") | join ",") "" (or $proxy.httpsUrl $proxy.httpUrl | empty | not) | quote }}
SSL_CERT_FILE: {{ ternary "/var/run/ca/ca.crt" "" (or $ca.configMap $ca.secret | empty | not) | quote }}
{{- end -}}

{{/* A pod's `spec` as JSON: (dict "s" "account" "apiAccess" "containers" "initContainers" "volumes" "more"). */}}
{{- define "purpleflea.podSpec" -}}
{{- $s := .s -}}
{{- $ca := $s.network.caBundle -}}
{{- $volumes := .volumes | default list -}}
{{- $items := list (dict "key" $ca.key "path" "ca.crt") -}}
{{- if $ca.configMap -}}
  {{- $volumes = append $volumes (dict "name" "ca-bundle" "configMap" (dict "name" $ca.configMap "items" $items)) -}}
{{- else if $ca.secret -}}
  {{- $volumes = append $volumes (dict "name" "ca-bundle" "secret" (dict "secretName" $ca.secret "items" $items)) -}}
{{- end -}}
{{- $spec := include "purpleflea.podDefaults" . | fromYaml -}}
{{- $_ := set $spec "containers" .containers -}}
{{- if .initContainers }}{{ $_ := set $spec "initContainers" .initContainers }}{{ end -}}
{{- if $volumes }}{{ $_ := set $spec "volumes" $volumes }}{{ end -}}
{{- merge $spec (.more | default dict) | toJson -}}
{{- end -}}

{{- define "purpleflea.podDefaults" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: {{ .apiAccess }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- if not .s.hostUsers }}
hostUsers: false
{{- end }}
{{- with .s.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A pod template with the settings' own part in it, as YAML: (dict "template" "part" "path"). */}}
{{- define "purpleflea.template" -}}
{{- $whole := (include "purpleflea.merge" (dict "base" .template "patch" (.part | default dict) "path" .path) | fromJson).value -}}
{{- if .part -}}
  {{- $path := .path -}}{{- $found := list -}}
  {{- range include "purpleflea.restrictedProblems" $whole.spec | splitList "\n" | compact -}}
    {{- $found = append $found (printf "%s: %s: the namespace enforces the restricted Pod Security level, which refuses such a pod" $path .) -}}
  {{- end -}}
  {{- include "purpleflea.refuse" $found -}}
{{- end -}}
{{- toYaml $whole -}}
{{- end -}}

{{- define "purpleflea.resources" -}}
resources:
  {{- range $kind := list "requests" "limits" }}
  {{- $amounts := get $ $kind }}
  {{ $kind }}: {cpu: {{ include "purpleflea.quantity" $amounts.cpu }}, memory: {{ include "purpleflea.quantity" $amounts.memory }}}
  {{- end }}
{{- end -}}

{{/* A quantity as text; a whole number may stand bare, as in Kubernetes. */}}
{{- define "purpleflea.quantity" -}}
{{- if kindIs "string" . }}{{ quote . }}{{ else }}{{ . | int64 | toString | quote }}{{ end -}}
{{- end -}}

{{- define "purpleflea.probes" -}}
startupProbe: {httpGet: {path: /livez, port: {{ . }}}, timeoutSeconds: 3, periodSeconds: 2, failureThreshold: 30}
livenessProbe: {httpGet: {path: /livez, port: {{ . }}}, timeoutSeconds: 3, periodSeconds: 10, failureThreshold: 6}
readinessProbe: {httpGet: {path: /readyz, port: {{ . }}}, timeoutSeconds: 3, periodSeconds: 5, failureThreshold: 2}
{{- end -}}

{{/* One variable out of a Secret: (list "NAME" "secret" "key"). */}}
{{- define "purpleflea.fromSecret" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 | quote }}, key: {{ index . 2 | quote }}}}
{{- end -}}

{{/* The API key: (list $s "secret" "NAME"); an empty Secret is the payer's. */}}
{{- define "purpleflea.keyEnv" -}}
{{- $s := first . -}}
{{ include "purpleflea.fromSecret" (list (index . 2) (index . 1 | default $s.secret) $s.credentials.apiKeyKey) }}
{{- end -}}

{{/*
Who it is at the payment service: (list $s "agentId" "secret" "NAME"). The given id, else the payer's as the settings
have it, else the one in the Secret. A Secret of the chart's own carries the settings' id, and is read as in the guide.
*/}}
{{- define "purpleflea.identityEnv" -}}
{{- $s := first . -}}{{- $secret := index . 2 -}}
{{- $told := index . 1 -}}
{{- if and (not $told) (not $secret) $s.credentials.existingSecret }}{{ $told = $s.credentials.agentWallet }}{{ end -}}
{{- if $told -}}
- name: {{ index . 3 }}
  value: {{ $told | quote }}
{{- else -}}
{{ include "purpleflea.fromSecret" (list (index . 3) ($secret | default $s.secret) $s.credentials.agentWalletKey) }}
{{- end -}}
{{- end -}}

{{- define "purpleflea.walletEnv" -}}
{{- if .worker.payee -}}
- name: PF_WORKER_WALLET
  value: {{ .worker.payee | quote }}
{{- else -}}
{{ include "purpleflea.identityEnv" (list . "" "" "PF_WORKER_WALLET") }}
{{- end -}}
{{- end -}}

{{/* URL of `faucet` or `escrow`: (list $s "escrow" "secret"); the settings' or the sandbox's, else the Secret's. */}}
{{- define "purpleflea.urlEnv" -}}
{{- $s := first . -}}{{- $service := index . 1 -}}{{- $name := printf "PF_%s_URL" (upper $service) -}}
{{- if or $s.sandbox.enabled (get $s.services (printf "%sUrl" $service)) -}}
- name: {{ $name }}
  value: {{ get $s.url $service | quote }}
{{- else -}}
{{ include "purpleflea.fromSecret" (list $name (index . 2 | default $s.secret) (get $s.credentials (printf "%sUrlKey" $service))) }}
{{- end -}}
{{- end -}}

{{/* What every program needs that speaks to the payment service, apart from the key: (list $s "secret"). */}}
{{- define "purpleflea.apiEnv" -}}
{{- $s := first . -}}
{{ include "purpleflea.urlEnv" (list $s "escrow" (last .)) }}
- {name: PF_API_DIALECT, value: {{ $s.api.dialect }}}
{{- if $s.sandbox.enabled }}
- {name: PF_ALLOW_HTTP, value: "true"}
{{- end }}
{{- include "purpleflea.logLevel" $s }}
{{- end -}}

{{- define "purpleflea.logLevel" -}}
{{- if ne .logLevel "INFO" }}
- {name: PF_LOG_LEVEL, value: {{ .logLevel }}}
{{- end }}
{{- end -}}

{{/* Where long-running programs read the key, so that a rotated Secret reaches them without a restart. */}}
{{- define "purpleflea.keyFileEnv" -}}
- {name: PF_API_KEY_FILE, value: /var/run/secrets/purpleflea/api-key}
{{- end -}}

{{- define "purpleflea.keyMount" -}}
- {name: credentials, mountPath: /var/run/secrets/purpleflea, readOnly: true}
{{- end -}}

{{- define "purpleflea.podEnv" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end -}}

{{/* The volume with the API key and nothing else of the Secret, as JSON: (list $s "secret"). */}}
{{- define "purpleflea.keyVolume" -}}
{{- $s := first . -}}
{{- $items := list (dict "key" $s.credentials.apiKeyKey "path" "api-key" "mode" 288) -}}
{{- dict "name" "credentials" "secret" (dict "secretName" (last . | default $s.secret) "items" $items) | toJson -}}
{{- end -}}

{{/* A Deployment: (dict "s" "name" "program" "spec" "annotations" "part" "path" "fields"). */}}
{{- define "purpleflea.deployment" -}}
{{- $labels := include "purpleflea.selector" .program | fromYaml -}}
{{- $about := dict "labels" $labels -}}
{{- if .annotations }}{{ $_ := set $about "annotations" .annotations }}{{ end -}}
apiVersion: apps/v1
kind: Deployment
{{ include "purpleflea.metadata" (list .s .name .program) }}
spec:
  {{- with .fields }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  selector:
    matchLabels:
      {{- toYaml $labels | nindent 6 }}
  template:
    {{- $whole := dict "metadata" $about "spec" .spec }}
    {{- include "purpleflea.template" (dict "template" $whole "part" .part "path" .path) | nindent 4 }}
{{- end -}}

{{/* Changes with what pods read from the chart's own Secret at their start only; as JSON. */}}
{{- define "purpleflea.readAtStart" -}}
{{- $found := dict -}}
{{- if not .credentials.existingSecret -}}
  {{- $data := include "purpleflea.secretData" (list . "") | fromYaml -}}
  {{- $_ := set $found "purpleflea.com/content-hash" (include "purpleflea.hash" $data) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* What the chart's own Secret holds: (list $s "key"). It is written beside a sandbox only. */}}
{{- define "purpleflea.secretData" -}}
{{- $s := first . -}}{{- $keys := $s.credentials -}}
{{ $keys.apiKeyKey | quote }}: {{ last . | quote }}
{{ $keys.agentWalletKey | quote }}: {{ $keys.agentWallet | default "agent-sandbox-001" | quote }}
{{ $keys.faucetUrlKey | quote }}: {{ $s.url.faucet | quote }}
{{ $keys.escrowUrlKey | quote }}: {{ $s.url.escrow | quote }}
{{- end -}}
