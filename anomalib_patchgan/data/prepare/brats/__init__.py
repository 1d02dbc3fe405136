"""BraTS gliomas of 2018 to 2024: from the unpacked archives to axial slices or tiles.

Sources: Menze et al., IEEE Transactions on Medical Imaging 34 (2015); Bakas et al., Scientific Data 4 (2017); Baid et
al., arXiv 2107.02314 (2021); de Verdier et al., arXiv 2405.18368 (2024).
"""
