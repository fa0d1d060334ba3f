complete --keep-order --exclusive --command robo --arguments "(COMPLETE=fish robo -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
