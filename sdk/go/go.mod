module headworks.dev/headworks

go 1.24
