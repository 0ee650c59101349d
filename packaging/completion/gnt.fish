# fish completion of the gnt-* commands; goes to /usr/share/fish/vendor_completions.d.
for program in gnt-backup gnt-cluster gnt-debug gnt-filter gnt-group gnt-instance gnt-job gnt-network gnt-node gnt-os gnt-storage
    complete --command $program --arguments "($program --complete (commandline --cut-at-cursor))"
end
