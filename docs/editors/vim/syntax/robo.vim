" Graphs and instances of robo and Roboconf: a language of lines.
if exists('b:current_syntax')
  finish
endif

syntax case ignore
syntax sync minlines=50

" Blocks: `Name {`, `facet Name {`, `instance of Name {`, `application Name {`.
syntax match roboName "^\s*\zs[^{}#[:space:]][^{#]\{-}\ze\s*{" nextgroup=roboBrace skipwhite
syntax match roboKeyword "^\s*\zs\%(facet\|instance of\)\ze\s[^#]*{" nextgroup=roboBlockName,roboBrace skipwhite
syntax match roboKeyword "^\s*\zsapplication\ze\s\+[^{#[:space:]][^{#]*{" nextgroup=roboBlockName skipwhite
syntax match roboBlockName "[^{#[:space:]][^{#]\{-}\ze\s*{" contained nextgroup=roboBrace skipwhite
syntax match roboBrace "{\+" contained
syntax match roboBrace "^\s*\zs}"

" `import path;`
syntax match roboImport "import\ze\s[^;#]*;" nextgroup=roboPath skipwhite
syntax match roboPath "[^;#[:space:]][^;#]\{-}\ze\s*;" contained nextgroup=roboEnd skipwhite

" `name: value;`. A value whose line ends in `,` goes on in the next line; a `#` in quotes belongs to it.
syntax match roboProperty "^\s*\%([^:#]\{-}\s\)\{-,1}\zs[^:#[:space:]]\+\ze\s*:" nextgroup=roboColon skipwhite
syntax match roboColon ":" contained nextgroup=roboValue,roboLines,roboUnfinished,roboEnd skipwhite
syntax match roboUnfinished "[^#;[:space:]][^#;]*" contained contains=@roboInValue
syntax region roboLines start="[^#;[:space:]]\ze\%([^\"#]\|\"[^\"]*\"\)*,\s*\%(#.*\)\=$" end="\ze;\s*\%(#.*\)\=$" end="^\ze\s*\%(}\|instance of\>\|\h[[:alnum:]_.-]*\s*:\)" contained contains=roboComment,@roboInValue nextgroup=roboEnd keepend
syntax match roboValue "[^#;[:space:]]\%([^\"#]\|\"[^\"]*\"\)\{-}\ze;\s*\%(#.*\)\=$" contained contains=@roboInValue nextgroup=roboEnd
syntax match roboValue "\"[^\"]*\"\%([^\"#]\|\"[^\"]*\"\)\{-}\ze;\s*\%(#.*\)\=$" contained contains=@roboInValue nextgroup=roboEnd
syntax match roboEnd ";" contained

syntax cluster roboInValue contains=roboString,roboReference,roboModifier,roboNumber,roboConstant
syntax match roboString "\"[^\"]*\"" contained contains=roboReference
syntax match roboReference "\$([^)]*)" contained
syntax match roboModifier "(\@<=optional)\@=\|\<external\>\ze\s\|\<random\ze\[" contained
syntax match roboNumber "\%([[:alnum:]_./:-]\)\@1<!\d\+\%(\.\d\+\)*\%(ms\|[smhd%]\|[kmgt]\=i\=b\)\=\%([[:alnum:]_/:-]\)\@!" contained
syntax match roboConstant "\%([[:alnum:]_.-]\)\@1<!\%(target\|script\|process\|container\|logger\|always\|on-failure\|never\)\%([[:alnum:]_.-]\)\@!" contained

syntax match roboComment "^\s*\zs#.*$" contains=@Spell
syntax match roboComment "\s\@<=#.*$\|[;{}]\@1<=#.*$" contains=@Spell

highlight default link roboName Type
highlight default link roboBlockName Type
highlight default link roboKeyword Statement
highlight default link roboImport Include
highlight default link roboPath String
highlight default link roboProperty Identifier
highlight default link roboColon Delimiter
highlight default link roboEnd Delimiter
highlight default link roboBrace Delimiter
highlight default link roboString String
highlight default link roboReference PreProc
highlight default link roboModifier StorageClass
highlight default link roboNumber Number
highlight default link roboConstant Constant
highlight default link roboComment Comment

let b:current_syntax = 'robo'
