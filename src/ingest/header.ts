/** placeholder */
export interface Headers { readonly x: 1 }
