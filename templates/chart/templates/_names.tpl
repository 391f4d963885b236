{{/* Labels that pick one program's pods: "operator". */}}
{{- define "purpleflea.selector" -}}
app.kubernetes.io/component: {{ . }}
app.kubernetes.io/part-of: purpleflea
{{- end -}}

{{/* `metadata` in the stack's namespace: (list $s "name" "program"), the program empty where an object is nobody's. */}}
{{- define "purpleflea.metadata" -}}
metadata:
  name: {{ index . 1 | quote }}
  namespace: {{ (first .).namespace | quote }}
  labels:
    {{- include "purpleflea.labels" (index . 2) | nindent 4 }}
{{- end -}}

{{/* `metadata` outside namespaces. */}}
{{- define "purpleflea.clusterMetadata" -}}
metadata:
  name: {{ index . 1 | quote }}
  labels:
    {{- include "purpleflea.labels" (index . 2) | nindent 4 }}
{{- end -}}

{{- define "purpleflea.labels" -}}
{{- if . }}{{ include "purpleflea.selector" . }}{{ else }}app.kubernetes.io/part-of: purpleflea{{ end -}}
{{- end -}}

{{/* What an uninstall leaves, as `retention.keepEscrows` has it. */}}
{{- define "purpleflea.kept" -}}
{{- if .retention.keepEscrows }}
  annotations:
    helm.sh/resource-policy: keep
{{- end -}}
{{- end -}}

{{- define "purpleflea.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
{{ include "purpleflea.metadata" . }}
automountServiceAccountToken: false
{{- end -}}

{{/* A binding to a ServiceAccount of the stack: (dict "s" "name" "program" "account" "namespace" "role" "cluster" "from"). */}}
{{- define "purpleflea.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "ClusterRoleBinding" "RoleBinding" (default false .cluster) }}
metadata:
  name: {{ .name | quote }}
  {{- if not .cluster }}
  namespace: {{ .namespace | default .s.namespace | quote }}
  {{- end }}
  labels:
    {{- include "purpleflea.selector" .program | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ ternary "ClusterRole" "Role" (default false .cluster) }}
  name: {{ .role | default .name | quote }}
subjects:
- {kind: ServiceAccount, name: {{ .account }}, namespace: {{ .from | default .s.namespace | quote }}}
{{- end -}}
