autocmd BufNewFile,BufRead *.graph,*.instances setfiletype robo
