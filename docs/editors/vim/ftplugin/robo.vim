" Graphs and instances of robo and Roboconf.
if exists('b:did_ftplugin')
  finish
endif
let b:did_ftplugin = 1

setlocal commentstring=#\ %s
setlocal comments=:#
setlocal formatoptions-=t formatoptions+=croql
setlocal iskeyword+=-,.
" `robo fmt` indents with tabs.
setlocal noexpandtab shiftwidth=0 softtabstop=0
setlocal smartindent

let b:undo_ftplugin = 'setlocal commentstring< comments< formatoptions< iskeyword< expandtab< shiftwidth< softtabstop< smartindent<'
