{{/* What the pods have in common. */}}

{{/* sluice.podMetadata: dict "root" . "component" "gateway" "values" .Values.gateway, and "checksums", annotations that restart the pods when
what they name changes. Pods that are a part of Sluice may call private functions (sluice.insideSelector); those of NATS have no need to. */}}
{{- define "sluice.podMetadata" -}}
{{- $own := include "sluice.selector" . | fromYaml -}}
{{- if ne .component "nats" -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "sluice" -}}
{{- end -}}
labels:
  {{- toYaml (merge $own .values.podLabels) | nindent 2 }}
{{- with merge (default dict .checksums) .values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* sluice.insideSelector selects the pods of this release that count as inside. */}}
{{- define "sluice.insideSelector" -}}
app.kubernetes.io/part-of=sluice,app.kubernetes.io/instance={{ .Release.Name }}
{{- end -}}

{{/* sluice.podSpec is all of a pod's spec but containers, volumes and terminationGracePeriodSeconds. Service links would set SLUICE_… variables
of their own, which our flags would read; a token is mounted only where "token" is true. */}}
{{- define "sluice.podSpec" -}}
serviceAccountName: {{ include "sluice.fullname" .root }}-{{ .component }}
automountServiceAccountToken: {{ default false .token }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with .root.Values.security.runAsUser }}
  runAsUser: {{ int64 . }}
  runAsGroup: {{ int64 . }}
  {{- end }}
  {{- with .root.Values.security.fsGroup }}
  fsGroup: {{ int64 . }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* sluice.spread is where the pods of a component that has several should be: on different nodes, if there are enough. */}}
{{- define "sluice.spread" -}}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "sluice.selector" . | nindent 8 }}
  {{- end }}
{{- end -}}

{{- define "sluice.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* sluice.image is image and imagePullPolicy of one of our services. */}}
{{- define "sluice.image" -}}
{{- $all := .root.Values.image -}}
{{- $tag := .values.image.tag | default $all.tag | default .root.Chart.AppVersion -}}
image: {{ include "sluice.withRegistry" . }}:{{ $tag }}
imagePullPolicy: {{ default $all.pullPolicy .values.image.pullPolicy }}
{{- end -}}

{{- define "sluice.withRegistry" -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .values.image.repository -}}
{{- end -}}

{{/* sluice.probes asks the port named by "port". A pod is not ready while NATS is away; it is alive as long as it makes progress. */}}
{{- define "sluice.probes" -}}
readinessProbe:
  httpGet:
    path: /ready
    port: {{ .port }}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet:
    path: /health
    port: {{ .port }}
  periodSeconds: 10
  timeoutSeconds: 3
  failureThreshold: 3
{{- end -}}


{{/* sluice.bytes is the number of a size such as 8Gi. */}}
{{- define "sluice.bytes" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := get (dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) (regexFind "[KMGT]i$" .) -}}
{{- mul $number (default 1 $unit) -}}
{{- end -}}
