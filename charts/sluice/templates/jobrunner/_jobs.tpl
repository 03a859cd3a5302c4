{{/* sluice.jobsConfiguration is the JSON of jobrunner.jobsConfiguration, which may be written as text or as values. Kubernetes makes one $ of two, and
a variable of $(NAME): each $ is doubled, so that it stays what it is. */}}
{{- define "sluice.jobsConfiguration" -}}
{{- with .Values.jobrunner.jobsConfiguration -}}
{{- $text := kindIs "string" . | ternary . (toJson .) -}}
{{- $text | replace "$" "$$" -}}
{{- end -}}
{{- end -}}
