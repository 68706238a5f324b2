module stepca

go 1.25.0

require github.com/smallstep/certificates v0.30.2
