{{- define "headworks.labels" -}}
app.kubernetes.io/name: headworks
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "headworks.selector" -}}
app.kubernetes.io/name: headworks
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
