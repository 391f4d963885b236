{{/*
What stands in Kubernetes' own words (`podTemplate`, `job`) and is not the user's to say, in the settings' words. Field
names and types are the schema's; what comes of the whole is looked at where it is made.
*/}}

{{/* Of every part of the stack: (list $s $names), the names those that the generator gives. */}}
{{- define "purpleflea.overrideProblems" -}}
{{- $s := first . -}}{{- $names := last . -}}
{{- range $index, $agent := $s.agents }}
{{- $path := printf "purpleflea.agents[%d]" $index }}
{{ include "purpleflea.partProblems" (dict "s" $s "names" $names "path" (printf "%s.podTemplate" $path) "part" .podTemplate "isAgent" true "holdsKey" (eq .credential "payer")) }}
{{ include "purpleflea.jobProblems" (list $s . (printf "%s.job" $path)) }}
{{- end }}
{{- $programs := list (list "worker" $s.worker $s.worker.enabled) (list "operator" $s.operator $s.operator.enabled) (list "payroll" $s.payroll $s.pays) (list "retention" $s.retention $s.retention.archiveAfterDays) (list "hpa.metricsServer" $s.hpa.metricsServer $s.scales) (list "sandbox" $s.sandbox $s.sandbox.enabled) }}
{{- range $programs }}
{{- $isWorker := eq (first .) "worker" }}
{{- if last . }}
{{ include "purpleflea.partProblems" (dict "s" $s "names" $names "path" (printf "purpleflea.%s.podTemplate" (first .)) "part" (index . 1).podTemplate "isAgent" $isWorker "holdsKey" (and $isWorker (eq $s.worker.credential "payer"))) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "purpleflea.partProblems" -}}
{{- $part := . -}}{{- $spec := .part.spec | default dict -}}{{- $path := printf "%s.spec" .path -}}{{- $account := $spec.serviceAccountName -}}
{{ include "purpleflea.metadataProblems" (list .path .part) }}
{{- if hasKey $spec "serviceAccount" }}
{{ $path }}.serviceAccount: is the old name of serviceAccountName; write that
{{- end }}
{{- if and $account (not .isAgent) }}
{{ $path }}.serviceAccountName: the program has its rights by the stack's own ServiceAccount
{{- end }}
{{- if has $account .names.accounts }}
{{ $path }}.serviceAccountName: '{{ $account }}' is a program's of the stack; name one of your own
{{- end }}
{{- if and $spec.automountServiceAccountToken (not $account) }}
{{ $path }}.automountServiceAccountToken: goes with a serviceAccountName of your own; the stack's has no business with the API server
{{- end }}
{{- if $spec.shareProcessNamespace }}
{{ $path }}.shareProcessNamespace: every container of the pod could read the API key
{{- end }}
{{- range $kind := list "containers" "initContainers" }}
{{- range $index, $one := index $spec $kind }}
{{ include "purpleflea.containerProblems" (list $part (printf "%s.%s[%d]" $path $kind $index) $one) }}
{{- end }}
{{- end }}
{{- range $index, $volume := $spec.volumes }}
{{- if has .name $part.names.volumes }}
{{ $path }}.volumes[{{ $index }}]: '{{ .name }}' is the stack's own; choose another name
{{- end }}
{{- end }}
{{- if not .holdsKey }}
{{ include "purpleflea.secretProblems" (list .s $path $spec) }}
{{- end }}
{{- end -}}

{{/* Of one container: (list $part "path" $container). */}}
{{- define "purpleflea.containerProblems" -}}
{{- $part := first . -}}{{- $path := index . 1 -}}{{- $one := last . -}}
{{- if and $part.isAgent (eq (toString $one.name) "agent") }}
{{- if hasKey $one "$patch" }}
{{ $path }}: the agent's own container stays; say what is to change in it
{{- end }}
{{- range $index, $variable := $one.env }}{{ if has .name $part.names.variables }}
{{ $path }}.env[{{ $index }}]: {{ .name }} is set by the stack; choose another name
{{- end }}{{ end }}
{{- else if has $one.name $part.names.containers }}
{{- range $key, $_ := omit $one "name" "resources" "imagePullPolicy" }}
{{ $path }}.{{ $key }}: the container {{ $one.name }} is the stack's own: only resources and imagePullPolicy can be changed
{{- end }}
{{- end }}
{{- if and $one.image (or (not (regexMatch $part.names.pinnedImage $one.image)) (hasSuffix ":latest" $one.image)) }}
{{ $path }}.image: {{ include "purpleflea.shown" $one.image }}: pin the image by a tag other than 'latest' or by '@sha256:...'
{{- end }}
{{- end -}}

{{/* Labels and annotations: (list "path" $part). */}}
{{- define "purpleflea.metadataProblems" -}}
{{- $path := first . -}}{{- $metadata := (last .).metadata | default dict -}}
{{- range $key, $_ := omit $metadata "labels" "annotations" }}
{{ $path }}.metadata.{{ $key }}: only labels and annotations can be added
{{- end }}
{{- range $kind := list "labels" "annotations" }}{{ range $key, $_ := index $metadata $kind }}
{{- if or (has $key (list "app.kubernetes.io/component" "app.kubernetes.io/part-of" "app")) (hasPrefix "purpleflea.com/" $key) (eq "purpleflea.com" $key) (contains "$" $key) }}
{{ $path }}.metadata.{{ $kind }}.{{ $key }}: is set by the stack alone
{{- end }}
{{- end }}{{ end }}
{{- end -}}

{{/* The payer's key by another way than `credential`: (list $s "path" $value). */}}
{{- define "purpleflea.secretProblems" -}}
{{- $s := first . -}}{{- $path := index . 1 -}}{{- $value := last . -}}
{{- $public := list $s.credentials.agentWalletKey $s.credentials.faucetUrlKey $s.credentials.escrowUrlKey -}}
{{- if kindIs "map" $value }}
{{- range $key, $one := $value }}
{{- $place := printf "%s.%s" $path $key }}
{{- if and (has $key (list "secretKeyRef" "secretRef" "secret" "nodePublishSecretRef")) (kindIs "map" $one) }}
{{- $isSecret := false }}
{{- range $one.items | default (list $one) }}{{ if not (has (get . "key") $public) }}{{ $isSecret = true }}{{ end }}{{ end }}
{{- if and $isSecret (has $s.secret (list $one.name $one.secretName)) }}
{{ $place }}: is the payer's Secret, and its key can spend the whole balance; name one of the agent's own, or write credential: payer
{{- end }}
{{- end }}
{{ include "purpleflea.secretProblems" (list $s $place $one) }}
{{- end }}
{{- else if kindIs "slice" $value }}
{{- range $index, $one := $value }}
{{ include "purpleflea.secretProblems" (list $s (printf "%s[%d]" $path $index) $one) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Of an agent's `job`: (list $s $agent "path"). */}}
{{- define "purpleflea.jobProblems" -}}
{{- $s := first . -}}{{- $agent := index . 1 -}}{{- $path := last . -}}{{- $spec := $agent.job.spec | default dict -}}
{{ include "purpleflea.metadataProblems" (list $path $agent.job) }}
{{- range $key, $why := dict "template" "write it as podTemplate" "suspend" "the job gate and the operator suspend and resume a Job" "selector" "the API server makes it" "manualSelector" "the API server makes the selector" }}
{{- if hasKey $spec $key }}
{{ $path }}.spec.{{ $key }}: is the stack's own: {{ $why }}
{{- end }}
{{- end }}
{{- if and (not $agent.schedule) (hasKey $spec "ttlSecondsAfterFinished") }}
{{ $path }}.spec.ttlSecondsAfterFinished: a Job that vanishes would be created anew by whatever applies the manifests again, and paid again
{{- end }}
{{- if hasKey $spec "activeDeadlineSeconds" }}
{{- $most := mul 3600 $s.escrow.timeoutHours | int64 }}
{{- if or (kindIs "invalid" $spec.activeDeadlineSeconds) (ge (int64 $spec.activeDeadlineSeconds) $most) }}
{{ $path }}.spec.activeDeadlineSeconds: must be a number below the escrow's time-out, {{ $most }}: after {{ int $s.escrow.timeoutHours }} h the money goes back
{{- end }}
{{- end }}
{{- end -}}

{{/* What the restricted Pod Security level has against a pod that the user has changed, one a line: its `spec`. */}}
{{- define "purpleflea.restrictedProblems" -}}
{{- $pod := . -}}{{- $context := $pod.securityContext | default dict -}}
{{- range $name := list "hostNetwork" "hostPID" "hostIPC" }}{{ if get $pod $name }}
{{ $name }}
{{- end }}{{ end }}
{{- range $volume := $pod.volumes }}
{{- range $kind, $_ := omit $volume "name" "configMap" "csi" "downwardAPI" "emptyDir" "ephemeral" "persistentVolumeClaim" "projected" "secret" }}
volume {{ $volume.name }}
{{- end }}
{{- end }}
{{- if $context.sysctls }}
sysctls
{{- end }}
{{- include "purpleflea.contextProblems" (list "pod" $context) }}
{{- range concat ($pod.initContainers | default list) ($pod.containers | default list) }}
{{- $name := .name }}{{ $own := .securityContext | default dict }}{{ $capabilities := $own.capabilities | default dict }}
{{- if $own.privileged }}
{{ $name }}: privileged
{{- end }}
{{- if ne (get $own "allowPrivilegeEscalation" | toString) "false" }}
{{ $name }}: allowPrivilegeEscalation
{{- end }}
{{- if or (not (has "ALL" ($capabilities.drop | default list))) (without ($capabilities.add | default list) "NET_BIND_SERVICE") }}
{{ $name }}: capabilities
{{- end }}
{{- if ne (ternary (get $own "runAsNonRoot") (get $context "runAsNonRoot") (hasKey $own "runAsNonRoot") | toString) "true" }}
{{ $name }}: runAsNonRoot
{{- end }}
{{- if not (has (dig "type" "" ($own.seccompProfile | default $context.seccompProfile | default dict)) (list "RuntimeDefault" "Localhost")) }}
{{ $name }}: seccompProfile
{{- end }}
{{- range .ports }}{{ if .hostPort }}
{{ $name }}: hostPort
{{- end }}{{ end }}
{{- range $key, $probe := . }}{{ if hasSuffix "Probe" $key }}
{{- if or (dig "httpGet" "host" "" $probe) (dig "tcpSocket" "host" "" $probe) }}
{{ $name }}: probe host
{{- end }}
{{- end }}{{ end }}
{{- include "purpleflea.contextProblems" (list $name $own) }}
{{- end }}
{{- end -}}

{{- define "purpleflea.contextProblems" -}}
{{- $name := first . -}}{{- $context := last . -}}
{{- if and (hasKey $context "runAsUser") (eq (int $context.runAsUser) 0) }}
{{ $name }}: runAsUser
{{- end }}
{{- if and (hasKey $context "runAsNonRoot") (not $context.runAsNonRoot) }}
{{ $name }}: runAsNonRoot
{{- end }}
{{- if not (has (dig "seccompProfile" "type" "RuntimeDefault" $context) (list "RuntimeDefault" "Localhost")) }}
{{ $name }}: seccompProfile
{{- end }}
{{- if eq (dig "appArmorProfile" "type" "" $context) "Unconfined" }}
{{ $name }}: appArmorProfile
{{- end }}
{{- if or (dig "seLinuxOptions" "user" "" $context) (dig "seLinuxOptions" "role" "" $context) }}
{{ $name }}: seLinuxOptions
{{- end }}
{{- if dig "windowsOptions" "hostProcess" false $context }}
{{ $name }}: hostProcess
{{- end }}
{{- end -}}
