{{- define "trellis.labels" -}}
app.kubernetes.io/name: trellis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Kubernetes labels each pod with the StatefulSet's name and a hash: longer names never get a pod. */ -}}
{{- define "trellis.statefulSetName" -}}
{{- if gt (len .) 52 -}}
{{ fail (printf "the StatefulSet name %q has %d characters, and Kubernetes creates no pods for names of more than 52: give the release or the site a shorter name" . (len .)) }}
{{- end -}}
{{ . }}
{{- end }}

{{- define "trellis.superlinkCa" -}}
{{ .Values.trust.superlinkCa | default (printf "%s-superlink-ca" .Release.Name) }}
{{- end }}

{{- define "trellis.clientCa" -}}
{{ .Values.trust.clientCa | default (printf "%s-client-ca" .Release.Name) }}
{{- end }}

{{- define "trellis.superlinkCaKey" -}}
{{ eq .Values.certificates.server "service-ca" | ternary "service-ca.crt" "ca.crt" }}
{{- end }}

{{- define "trellis.superlinkAddress" -}}
{{- if .Values.superlinkAddress -}}
{{ .Values.superlinkAddress }}
{{- else if .Values.superlink.enabled -}}
{{ .Release.Name }}-superlink.{{ .Release.Namespace }}.svc:9092
{{- else -}}
{{ fail "superlinkAddress says where the SuperLink is: give it, or set superlink.enabled" }}
{{- end }}
{{- end }}

{{- define "trellis.podSecurity" -}}
runAsNonRoot: true
{{- if not .Values.openshift.enabled }}
runAsUser: 49999
runAsGroup: 49999
fsGroup: 49999
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "trellis.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "trellis.liveProbes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: {{ . }}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ . }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{- define "trellis.readyProbe" -}}
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ . }}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end }}

{{/* The container in which apps run: beside the one with keys and state, and without them. */}}
{{- define "trellis.appContainer" -}}
- name: superexec
  image: {{ .image }}
  args:
    - --insecure
    - --runtime-api-address={{ .address }}
    - --health-server-address=0.0.0.0:8082
  env:
    - name: FLWR_HOME
      value: /app/apps
  ports:
    - name: apps-health
      containerPort: 8082
  {{- include "trellis.liveProbes" "apps-health" | nindent 2 }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    {{- include "trellis.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: apps
      mountPath: /app/apps
    - name: superexec-tmp
      mountPath: /tmp
    {{- with .data }}
    - name: data
      mountPath: {{ .mountPath }}
      readOnly: true
    {{- end }}
{{- end }}

{{- define "trellis.scratchVolumes" -}}
- name: apps
  emptyDir:
    sizeLimit: 4Gi
- name: superexec-tmp
  emptyDir:
    sizeLimit: 4Gi
{{- end }}

{{- define "trellis.issuerRef" -}}
group: {{ .group | default "cert-manager.io" }}
kind: {{ .kind | default "Issuer" }}
name: {{ .name }}
{{- end }}

{{- define "trellis.leafKey" -}}
algorithm: ECDSA
size: 256
rotationPolicy: Always
{{- end }}

{{- define "trellis.dnsEgress" -}}
{{- if .Values.openshift.enabled -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: openshift-dns
  ports:
    - port: 5353
      protocol: UDP
    - port: 5353
      protocol: TCP
{{- else -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
    - ipBlock:
        cidr: 169.254.0.0/16
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}
{{- end }}

{{- define "trellis.monitoringIngress" -}}
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Values.networkPolicy.monitoringNamespace | default (.Values.openshift.enabled | ternary "openshift-user-workload-monitoring" "monitoring") }}
  ports:
    - port: health
    - port: apps-health
{{- end }}
